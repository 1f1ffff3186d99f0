"""The text of chains: "jpeg, super-resolve x2 noise=5"."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore.errors import RestoreError
from bcm_restore.steps import Step, parse, resolve

KINDS = {
    "jpeg": {"input_quality": int | None},
    "super-resolve": {"scale": int, "noise": float | None},
    "inpaint": {"mask": str | Path | None, "fit_mask": bool, "grow": int},
    "tint": {"palette": Path, "reason": Any},
    "anything": None,
    "colorize": {},
}


def resolved(text):
    return resolve(parse(text), KINDS.__getitem__)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("jpeg", [Step("jpeg", {})]),
        ("jpeg,super-resolve x2", [Step("jpeg", {}), Step("super-resolve", {"scale": "2"})]),
        (" jpeg  nfe=1 ,\n denoise sigma=10 ", [Step("jpeg", {}, nfe=1), Step("denoise", {"sigma": "10"})]),
        ("inpaint mask='a, b.png' --fit-mask", [Step("inpaint", {"mask": "a, b.png", "fit_mask": True})]),
        (r"inpaint mask=C:\new\m.png, jpeg", [Step("inpaint", {"mask": r"C:\new\m.png"}), Step("jpeg", {})]),
        ('inpaint mask="bob\'s #1.png"', [Step("inpaint", {"mask": "bob's #1.png"})]),
        ("inpaint mask=a=b.png", [Step("inpaint", {"mask": "a=b.png"})]),
        (
            ["jpeg", ("super-resolve", {"scale": 2, "nfe": 8})],
            [Step("jpeg", {}), Step("super-resolve", {"scale": 2}, 8)],
        ),
    ],
)
def test_steps(text, steps):
    assert parse(text) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are no steps"),
        ([], "there are no steps"),
        ("jpeg,", "no task before or after a comma"),
        ("jpeg,,jpeg", "no task before or after a comma"),
        ("inpaint mask='a", "quotation mark"),
        ("jpeg 30", "step 'jpeg': '30' is not an option; give name=value, and a comma before the next task"),
        ("jpeg quality=", "step 'jpeg': 'quality=' is not an option"),
        ("jpeg nfe=two", "step 'jpeg': nfe=two is not a whole number"),
        ("jpeg nfe", "step 'jpeg': nfe needs a value"),
        ("super-resolve x2 scale=4", "step 'super-resolve': scale is given twice"),
        ("jpeg quality=3 input-quality=4", "step 'jpeg': input_quality is given twice"),
        ("super-resolve x2 nois=5", "step 'super-resolve': there is no option 'nois'; did you mean 'noise'?"),
        ("jpeg x2", "step 'jpeg': there is no option 'scale'; it takes input_quality, nfe"),
        ("colorize x2", "step 'colorize': there is no option 'scale'; it takes nfe"),
        ("jpeg super-resolve", "put a comma before it if it is a task"),
        ("super-resolve scale=2.5", "step 'super-resolve': scale=2.5 is not a whole number"),
        ("super-resolve noise=much", "step 'super-resolve': noise=much is not a number"),
        ("super-resolve noise", "step 'super-resolve': noise needs a value"),
        ("inpaint fit-mask=perhaps", "step 'inpaint': fit_mask=perhaps is not known; give fit_mask=yes or fit_mask=no"),
        ("super-resolve x2, inpaint mask=m.png", "inpaint comes after super-resolve, but its mask has the size"),
        ("inpaint mask=m.png, jpeg, inpaint mask=n.png", "inpaint is given twice"),
        (3, "steps=3 is a int"),
        ([("jpeg",)], r"step \('jpeg',\): give a name or a pair"),
    ],
)
def test_malformed_steps_are_refused_in_one_line(text, message):
    with pytest.raises(RestoreError, match=message) as refused:
        resolved(text)
    assert "\n" not in str(refused.value)


def test_values_get_the_types_of_the_options():
    found = resolved(
        "inpaint mask=12 fit_mask=no grow=3, jpeg quality=30, super-resolve x2 noise=5, tint palette=p.txt"
    )
    assert found == [
        {"mask": "12", "fit_mask": False, "grow": 3},
        {"input_quality": 30},
        {"scale": 2, "noise": 5.0},
        {"palette": Path("p.txt")},
    ]
    assert [type(value) for value in found[2].values()] == [int, float]
    assert resolved([("inpaint", {"mask": mask}), ("super-resolve", {"scale": 2, "noise": None})]) == [
        {"mask": mask},
        {"scale": 2, "noise": None},
    ]
    assert resolved("anything goes=1, tint reason=why") == [{"goes": "1"}, {"reason": "why"}]


mask = object()
NAMES = st.sampled_from(["jpeg", "jpeg-restore", "super-resolve", "x2", "2"])
KEYS = st.sampled_from(["scale", "noise", "fit_mask", "x", "a2"])
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)
OPTIONS = st.dictionaries(KEYS, st.one_of(VALUES, st.just(True)))
STEPS = st.lists(st.builds(Step, NAMES, OPTIONS, st.one_of(st.none(), st.integers(1, 99))), min_size=1, max_size=4)


def quoted(value):
    """The value in quotation marks, with the other kind around each."""
    return "".join(
        f"'{part}'" if '"' in part else f'"{part}"' for part in value.replace("'", "\0'\0").split("\0") if part
    )


def written(step):
    words = [step.name] + ([f"nfe={step.nfe}"] if step.nfe else [])
    return " ".join(words + [key if value is True else f"{key}={quoted(value)}" for key, value in step.options.items()])


@given(STEPS)
def test_round_trip(steps):
    assert parse(", ".join(map(written, steps))) == steps
    assert parse(",".join(map(written, steps))) == steps


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**6)), min_size=1))
def test_x_is_short_for_the_scale(steps):
    short = parse(",".join(f"{name} x{scale}" for name, scale in steps))
    assert short == parse(",".join(f"{name} scale={scale}" for name, scale in steps))


@given(st.one_of(st.text(), st.text("ab=, x2'\"\\-\n")))
def test_any_text_is_steps_or_an_error_of_one_line(text):
    try:
        steps = parse(text)
    except RestoreError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(step.name and all(map(str.isidentifier, step.options)) for step in steps)


def test_what_super_resolve_would_clean_is_left_to_a_step_before_it():
    kinds = {"jpeg": {"quality": int}, "denoise": {"sigma": float}, "super-resolve": {"scale": int, "noise": float}}

    def found(text):
        return resolve(parse(text), kinds.__getitem__)[-1]

    assert found("super-resolve x2") == {"scale": 2}
    assert found("jpeg, super-resolve x2") == found("denoise, super-resolve x2") == {"scale": 2, "noise": 0}
    assert found("jpeg, super-resolve x2 noise=5") == {"scale": 2, "noise": 5.0}


@pytest.mark.parametrize(
    ("text", "times"), [("super-resolve x8, super-resolve x8", 64), ("super-resolve, super-resolve x8", 32)]
)
def test_results_that_are_too_large_are_refused(text, times):
    kinds = {"scale": int}
    with pytest.raises(
        RestoreError, match=f"^the steps enlarge a picture {times} times; at most 16 times is possible$"
    ):
        resolve(parse(text), lambda name: kinds)
