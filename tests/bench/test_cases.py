"""The cases of each task."""

import io

import cv2
import numpy as np
import pytest
from helpers.data import FURTHER_NAMES, INPAINT, noise, of, rng
from PIL import Image

from bcm_restore import tasks
from bcm_restore.bench.cases import CASES, FURTHER, cases
from bcm_restore.bench.pictures import Suite
from bcm_restore.errors import RestoreError
from bcm_restore.simulation import masks


def test_cases_of_each_task():
    names = {task: [case.name for case in cases(task)] for task in CASES}
    assert names == {
        "inpaint": INPAINT,
        "jpeg": ["quality-5", "quality-10", "quality-20", "quality-40"],
        "super-resolve": ["x2", "x4", "x8", "x2-pool", "x4-pool", "x8-pool"],
        "denoise": ["sigma-10", "sigma-15", "sigma-25", "sigma-50", "sensor"],
        "colorize": ["luma"],
        "deblur": ["gaussian-1.6", "gaussian-2.5", "motion", "disk-3"],
        "interpolate": ["pairs"],
    }
    assert [case.multiple for case in cases("super-resolve")] == [2, 4, 8, 2, 4, 8]
    assert {case.multiple for task in ("inpaint", "jpeg", "interpolate") for case in cases(task)} == {1}
    assert all(case.task == task for task in CASES for case in cases(task))
    assert set(CASES) == set(tasks.names())


def test_further_cases_are_run_only_if_chosen():
    assert {task: [case.name for case in of_task] for task, of_task in FURTHER.items()} == FURTHER_NAMES
    for task, names in FURTHER_NAMES.items():
        assert [case.name for case in cases(task, names)] == names
    assert [case.name for case in cases("jpeg", ["quality-60", "quality-5"])] == ["quality-5", "quality-60"]
    assert [case.multiple for case in cases("super-resolve", FURTHER_NAMES["super-resolve"])] == [3, 4, 4]


@pytest.mark.parametrize("side", [256, 400])
def test_masks_of_further_cases(side):
    thin, half = (masks.FURTHER_MASKS[name](rng(), (256, side)) for name in ("thin-strokes", "random-50"))
    wide = masks.MASKS["freeform-10-20"](rng(), (256, side))
    assert 0.05 <= thin.mean() <= 0.15
    assert half.mean() == pytest.approx(0.5, abs=0.03)
    # strokes are 5 of 256 pixels wide at most, but cross; those of the default masks are 12 or more
    left = [cv2.erode(mask.astype(np.uint8), np.ones((7, 7))).sum() / mask.sum() for mask in (thin, wide)]
    assert left[0] < 0.1 < 0.4 < left[1]


def test_noise_is_added_to_the_known_pixels_and_not_passed_on():
    clean = np.full((96, 96, 3), 128, np.uint8)
    hole = Suite(of(a=clean), cases("inpaint", ["box-noise-5"])).sample(cases("inpaint", ["box-noise-5"])[0], "a")
    known = ~hole.example.where
    assert np.array_equal(hole.example.where, masks.box(rng(), (96, 96)))
    assert not hole.example.damaged[~known].any()
    assert hole.example.damaged[known].std() == pytest.approx(5, rel=0.05)
    [case] = cases("super-resolve", ["x4-noise-5"])
    small = case.degrade(clean, rng())
    assert small.damaged.shape == (24, 24, 3)
    assert small.damaged.std() == pytest.approx(5, rel=0.1)
    assert small.inputs == {"scale": 4, "kernel": "bicubic"}


def test_a_small_jpeg_is_the_compressed_small_picture():
    clean = noise(80, 97)
    [case] = cases("super-resolve", ["x4-jpeg-60"])
    example = Suite(of(a=clean), [case]).sample(case, "a").example
    assert np.array_equal(example.clean, clean[:, :96])
    small = Image.fromarray(clean[:, :96]).resize((24, 20), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=60)
    assert example.data == file.getvalue()
    assert np.array_equal(example.damaged, np.asarray(Image.open(file)))
    assert example.inputs["scale"] == 4 and example.inputs["coefficients"].size == (20, 24)


def test_selected_cases_keep_the_order():
    assert [case.name for case in cases("inpaint", ["half", "box", "half"])] == ["box", "half"]
    mask = np.eye(8, dtype=bool)
    assert [case.name for case in cases("inpaint", mask=mask)] == [*INPAINT, "mask"]
    own = cases("inpaint", ["mask"], mask)
    assert [case.name for case in own] == ["mask"]
    sample = Suite(of(a=noise(64, 64)), own).sample(own[0], "a")
    assert np.array_equal(sample.example.where, np.kron(mask, np.ones((8, 8), bool)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("blur",), "--task blur: not a task of the bench; "
         "choose one of inpaint, jpeg, super-resolve, denoise, colorize, deblur, interpolate"),
        (("jpeg", ["x4"]), "--case x4: jpeg has quality-5, quality-10, quality-20, quality-40, quality-3, quality-60"),
        (("colorize", ["x4"]), "--case x4: colorize has luma"),
        (("inpaint", ["mask"]), "--case mask: give the file with --mask"),
        (("jpeg", [], np.eye(8, dtype=bool)), "--mask: no case uses it; it is for --task inpaint, or omit it"),
        (("inpaint", ["box"], np.eye(8, dtype=bool)),
         '--mask: no case uses it; add --case "mask", or omit it'),
    ],
)  # fmt: skip
def test_errors_of_unknown_cases_list_the_known_ones(arguments, message):
    with pytest.raises(RestoreError) as error:
        cases(*arguments)
    assert str(error.value) == message
