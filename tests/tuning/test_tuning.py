"""Tuning: degradations, scores, the evaluator, the tuner and the TOML files."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore import metrics, schemes, tasks, weights
from bcm_restore.bench.pictures import rgb
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import perceptual
from bcm_restore.model import BCM
from bcm_restore.networks import Network
from bcm_restore.simulation.degradations import VARIANTS, Example, compressed, downscaled, variants
from bcm_restore.tuning import tables
from bcm_restore.tuning.evaluation import Evaluator, batches, prepare
from bcm_restore.tuning.scores import Metric, parse_metric, penalty
from bcm_restore.tuning.search import Search
from bcm_restore.tuning.search_space import parts
from bcm_restore.tuning.tuner import FLAT_COLOURS, Tuner, centre, evenly_spread, flat_pictures
from bcm_restore.weights import catalogue

PSNR = Metric((("psnr", 1.0),))
CPU = torch.device("cpu")
ALL = [(task, name) for task, names in VARIANTS.items() for name in names]


@pytest.fixture(scope="module")
def clean():
    """Three photographs, (64, 64, 3)."""
    whole = skimage.data.astronaut()
    return [np.ascontiguousarray(whole[y : y + 64, x : x + 64]) for y, x in ((60, 180), (200, 60), (330, 300))]


def evaluator_of(task, variant, clean, model, flat=()):
    degrade, task = VARIANTS[task][variant], tasks.get(task)
    prepared = [prepare(task, degrade(p, np.random.default_rng(n)), n, CPU) for n, p in enumerate(clean)]
    flats = [prepare(task, degrade(p, np.random.default_rng(0)), 0, CPU) for p in flat]
    return Evaluator(task, model, prepared, flats, PSNR)


# Degradations

RANDOM = {("deblur", "gaussian-2.5"), ("deblur", "motion"), *(one for one in ALL if one[0] in ("inpaint", "denoise"))}


@pytest.mark.parametrize(("task", "variant"), ALL)
def test_degradations_depend_only_on_the_seed(clean, task, variant):
    degrade = VARIANTS[task][variant]
    one, again, other = (degrade(clean[0], np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.damaged, again.damaged)
    assert one.damaged.dtype == np.uint8
    assert np.array_equal(one.damaged, other.damaged) == ((task, variant) not in RANDOM)
    if task == "inpaint":
        assert np.array_equal(one.damaged[~one.where], clean[0][~one.where])
        assert (one.damaged[one.where] == 0).all()


def test_degradations_have_their_nominal_strength(clean):
    assert 0.75 < VARIANTS["inpaint"]["random-80"](clean[0], np.random.default_rng(0)).where.mean() < 0.85
    small = downscaled(3)(clean[0], np.random.default_rng(0))
    assert (small.damaged.shape, small.clean.shape) == ((21, 21, 3), (63, 63, 3))
    errors = [
        metrics.psnr(compressed(quality)(clean[0], np.random.default_rng(0)).damaged, clean[0])
        for quality in (10, 20, 40)
    ]
    assert errors == sorted(errors)


def test_errors_of_unknown_tasks_and_variants_list_the_known_ones():
    with pytest.raises(RestoreError, match="interpolate cannot be tuned"):
        variants("interpolate")
    with pytest.raises(RestoreError, match="text, boxes, random-80"):
        variants("inpaint", ["x4"])
    assert list(variants("super-resolve", ["x8", "x2"])) == ["x8", "x2"]


# Metrics and scores


def test_ssim_of_known_pictures(clean):
    picture = clean[0]
    assert metrics.ssim(picture, picture) == pytest.approx(1)
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    assert metrics.ssim(noisy, picture) == pytest.approx(metrics.ssim(picture, noisy))
    # for constants a and b only the term of the means remains, (2ab + c) / (a^2 + b^2 + c)
    a, b, c = 100.0, 140.0, (0.01 * 255) ** 2
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (a, b)]
    assert metrics.ssim(*flat) == pytest.approx((2 * a * b + c) / (a * a + b * b + c))


def test_ssim_of_a_hole_depends_on_errors_in_it(clean):
    hole = np.zeros((64, 64), bool)
    hole[20:30, 20:30] = True
    broken = np.where(hole[..., None], 255 - clean[0], clean[0]).astype(np.uint8)
    assert metrics.ssim(broken, clean[0], hole) < metrics.ssim(broken, clean[0]) < 1
    assert metrics.ssim(broken, clean[0], ~hole) > metrics.ssim(broken, clean[0], hole)


def test_lpips_never_runs_without_its_weights(clean, monkeypatch, tmp_path):
    perceptual.load.cache_clear()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    entry = catalogue.get("lpips-alex")
    file = tmp_path / "checkpoints" / entry.file
    assert perceptual.backbone() == file
    with pytest.raises(RestoreError) as error:
        metrics.lpips(clean[0], clean[0])
    ways = f"'bcm-restore weights download lpips-alex' fetches them, or put {entry.url} into {file.parent}"
    assert str(error.value) == f"LPIPS needs AlexNet's weights; {ways}"
    file.parent.mkdir()
    file.write_bytes(b"other weights")
    with pytest.raises(RestoreError) as error:
        metrics.lpips(clean[0], clean[0])
    assert str(error.value) == (
        f"{file}: is damaged, or does not hold AlexNet's weights, which LPIPS needs; delete it, then {ways}"
    )
    with pytest.raises(RestoreError):
        parse_metric("psnr=1,lpips=20")  # before any work
    trusted = replace(entry, sha256=hashlib.sha256(b"other weights").hexdigest())
    monkeypatch.setattr(catalogue, "get", lambda name: trusted)
    perceptual.checked_weights("LPIPS", "AlexNet", "lpips-alex")
    perceptual.load.cache_clear()


def test_lpips_with_its_weights(clean):
    if not perceptual.backbone().is_file():
        pytest.skip("lpips-alex is not on this machine")
    noisy = np.clip(clean[0] + np.random.default_rng(0).normal(0, 40, clean[0].shape), 0, 255).astype(np.uint8)
    assert metrics.lpips(clean[0], clean[0]) == pytest.approx(0, abs=1e-6)
    assert metrics.lpips(noisy, clean[0]) > 0.1


def test_metrics_can_be_mixed_and_lpips_is_subtracted():
    mix = Metric((("psnr", 2.0), ("lpips", 20.0)))
    assert mix.score({"psnr": 30.0, "lpips": 0.5}) == pytest.approx(50)
    assert str(mix) == "psnr=2,lpips=20"
    assert parse_metric("psnr=1, ssim=30") == Metric((("psnr", 1.0), ("ssim", 30.0)))
    assert str(parse_metric("ssim")) == "ssim"


def test_penalty_by_its_formula():
    assert [penalty(error) for error in (0.0, 1.0, 1.5, 20.0)] == [0, 0, 1500, 20_000]
    mix = Metric((("psnr", 2.0), ("lpips", 20.0)))
    values = {"psnr": 30.0, "lpips": 0.5}
    assert mix.score(values, 1.0) == mix.score(values)
    assert mix.score(values, 1.5) == 2 * (30 - 1500) + 20 * (-0.5 - 1500)


@pytest.mark.parametrize("wrong", ["", "psn", "psnr=", "psnr=x", "psnr=0", "psnr=-1", "psnr=inf", "psnr,psnr"])
def test_invalid_metrics(wrong):
    with pytest.raises(RestoreError, match="--metric"):
        parse_metric(wrong)


def test_psnr_of_equal_pictures_is_finite(clean):
    assert PSNR.measure(clean[0], Example(clean[0], clean[0])) == {
        "psnr": pytest.approx(48.13, abs=0.01)  # the cap
    }


# The evaluator


SCHEMES = {
    "colorize": "level 0.4, noise 0.48, mean, fit, level 0.1, to 0, fit",
    "denoise": "level 1t0, mean, fit, level 0.5t0, to 0, fit",
    "deblur": "level 3t0, mean, fit, level 1t0, mean, fit",
    "inpaint": "level 0.2, noise 0.24, to 0, fit, level 0.1, noise 0.12, mean, fit",
    "jpeg": "level 1.2t0, noise 1.4t0, to 0, fit, renoise 0.5t0 0.3, mean, fit, level 0.4t0, to 0, fit",
    "super-resolve": "level 0.4, noise 0.48, mean, fit, level 0.1, to 0, fit",
}


@pytest.mark.parametrize(("task", "variant"), ALL)
@pytest.mark.parametrize("size", [1, 8])
def test_batches_and_cached_stages_give_the_results_of_restore(clean, model, monkeypatch, task, variant, size):
    monkeypatch.setattr("bcm_restore.tuning.evaluation.batches", lambda prepared, _: batches(prepared, size))
    evaluator = evaluator_of(task, variant, clean, model)
    scheme = schemes.parse(SCHEMES[task])
    cold = evaluator.results(scheme)
    other = schemes.parse(SCHEMES[task].rsplit("level", 1)[0] + "level 0.06, to 0, fit")
    evaluator.results(other)  # continues from the shared first stage
    warm = evaluator.results(scheme)
    for prepared, first, again in zip(evaluator.pictures, cold, warm, strict=True):
        single = tasks.get(task).restore(
            prepared.example.damaged, model=model, scheme=scheme, seed=prepared.seed, **prepared.example.inputs
        )
        assert np.array_equal(first, again)
        # the order of summation may depend on the batch
        assert np.abs(first.astype(int) - single).max() <= (size > 1)
        assert (first != single).mean() < 0.01


def test_cached_stages_are_not_evaluated_again(clean, model):
    evaluator = evaluator_of("super-resolve", "x4", clean, model)
    text = "level 0.4, noise 0.48, mean, fit, level {}, to 0, fit"
    evaluator.trial(schemes.parse(text.format(0.1)))
    before = model.nfe
    evaluator.trial(schemes.parse(text.format(0.2)))
    assert model.nfe - before == len(clean)


def test_only_similar_problems_share_a_batch(clean, model):
    task = tasks.get("super-resolve")
    prepared = [prepare(task, downscaled(s)(p, np.random.default_rng(0)), 0, CPU) for s in (2, 4) for p in clean]
    assert [len(batch) for batch in batches(prepared)] == [3, 3]
    files = evaluator_of("jpeg", "quality-20", clean, model)
    assert [len(batch) for batch in batches(files.pictures)] == [1, 1, 1]


def test_parts_end_with_fit_and_cover_the_scheme():
    scheme = schemes.parse("level 0.4, mean, fit, level 0.1, to 0, fit, noise 0.1, to 0")
    assert [str(part) for part in parts(scheme)] == ["level 0.4, mean, fit", "level 0.1, to 0, fit", "noise 0.1, to 0"]
    backwards = schemes.parse("noise 80 hole, mean, level 0.4, to 0, fit, renoise 0.2 0.5, to 0, fit")
    assert list(map(str, parts(backwards))) == [
        "noise 80 hole, mean",
        "level 0.4, to 0, fit",
        "renoise 0.2 0.5, to 0, fit",
    ]


def test_flat_pictures_are_of_one_colour():
    pictures = flat_pictures()
    assert {picture.shape for picture in pictures} == {(64, 64, 3)}
    assert [tuple(np.unique(picture.reshape(-1, 3), axis=0)[0]) for picture in pictures] == list(FLAT_COLOURS)
    assert all(picture.std(axis=(0, 1)).max() == 0 for picture in pictures)


@pytest.mark.parametrize("task", VARIANTS)
def test_every_case_has_flat_pictures(clean, model, task):
    tuner = Tuner(tasks.get(task), model, clean[:1], variants(task), PSNR)
    of_each = len(flat_pictures())
    counts = {case: len(evaluator.flat) for case, evaluator in tuner.evaluators.items()}
    assert counts == {case: of_each * len(evaluator.pictures) for case, evaluator in tuner.evaluators.items()}


def test_noise_in_the_hole_reaches_the_later_stages(clean):
    """The network of a model with level maps gets maps from the first `hole` to the next `level`."""
    mapped = []

    class Silent(Network):
        def forward(self, x, t, u, maps=None):
            mapped.append(maps is not None)
            return torch.zeros_like(x)

    evaluator = evaluator_of("inpaint", "boxes", clean[:1], BCM(Silent(), device="cpu", level_maps=True))
    evaluator.trial(schemes.parse("level 0.5, mean, fit, noise 3 hole, mean, fit, noise 0.2, mean, fit"))
    assert mapped == [False, True, True]
    mapped.clear()
    evaluator.trial(schemes.parse("level 0.5, mean, fit, noise 3 hole, mean, fit, noise 0.1, mean, fit"))
    assert mapped == [True]  # the cache includes the known pixels


# The tuner


@pytest.mark.slow
def test_tuner_groups_by_case_and_searches_each_nfe(clean, model):
    tuner = Tuner(tasks.get("inpaint"), model, clean[:2], variants("inpaint"), PSNR)
    assert {case: len(evaluator.pictures) for case, evaluator in tuner.evaluators.items()} == {"thin": 4, "wide": 2}
    tuner.run([2, 1], [schemes.parse("level 0.15, mean, fit")], 0.5, lambda case, nfe, trial: None)
    assert [(found.case, found.nfe) for found in tuner.found] == [
        (case, nfe) for case in tuner.evaluators for nfe in (1, 2)
    ]
    for found in tuner.found:
        assert {scheme.nfe for scheme in found.search.trials} == {found.nfe}
        assert found.default.scheme == tasks.get("inpaint").cases(model)[found.case][found.nfe]
        assert found.search.best is None or found.default.score <= found.search.best.score


def test_tuner_skips_defaults_that_the_model_cannot_run(clean, monkeypatch):
    class Silent(Network):
        def forward(self, x, t, u, maps=None):
            return torch.zeros_like(x)

    model = BCM(Silent(), name="bare", device="cpu", diagonal=False)
    task = tasks.get("super-resolve")
    monkeypatch.setattr(task, "cases", lambda model: task.schemes()[weights.DEFAULT])
    tuner = Tuner(task, model, clean[:1], variants("super-resolve", ["x4"]), PSNR)
    tuner.run([2], [], 0.2, lambda case, nfe, trial: None)
    assert tuner.found[0].default is None
    assert not any("mean" in str(scheme) for scheme in tuner.found[0].search.trials)


def test_tuner_tries_noise_in_the_hole_with_level_maps(clean, monkeypatch):
    monkeypatch.setattr(Search, "_descend", lambda search, plan: plan)  # only the starts, on any machine

    class Silent(Network):
        def forward(self, x, t, u, maps=None):
            return torch.zeros_like(x)

    model = BCM(Silent(), name="maps", device="cpu", level_maps=True)
    tuner = Tuner(tasks.get("inpaint"), model, clean[:1], variants("inpaint", ["boxes"]), PSNR)
    tuner.run([2], [], 600, lambda case, nfe, trial: None)
    tried = list(map(str, tuner.found[0].search.trials))
    assert any(text.startswith("noise 80 hole, mean, fit, level 0.2, mean, fit") for text in tried)
    assert any(text.count("hole") == 2 for text in tried)


def test_conversion_and_cropping_of_pictures():
    grey = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20)
    assert rgb(grey).shape == (30, 20, 3)
    assert rgb(grey).dtype == np.uint8
    assert centre(rgb(grey), 10).shape == (10, 10, 3)
    assert np.array_equal(centre(rgb(grey), 10), rgb(grey)[10:20, 5:15])
    assert centre(rgb(grey), 25).shape == (25, 20, 3)
    assert evenly_spread(range(10), 3) == [0, 3, 6]
    assert evenly_spread([1, 2], 3) == [1, 2]


# The files


FILE = """# Mine.
# Two lines.

[other.x4]
1 = "level 0.2, to 0, fit"

# lost: only the leading comment is kept
["a b".x2]
1 = "level 0.1, to 0, fit"
2 = "level 0.2, to 0, fit, level 0.1, to 0, fit"
"""


def test_merging_keeps_other_schemes():
    new = schemes.parse("level 0.3, mean, fit")
    text = tables.merged(FILE, "a b", {"x2": {1: new}, "x4": {1: new}})
    assert text.startswith("# Mine.\n# Two lines.\n\n[other.x4]\n")
    before, after = tables.read_table(FILE), tables.read_table(text)
    assert after["other"] == before["other"]
    assert after["a b"] == {"x2": {1: str(new), 2: before["a b"]["x2"][2]}, "x4": {1: str(new)}}
    assert tables.merged(text, "a b", {"x2": {1: new}}) == text


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_names_can_be_written_and_read(model, case):
    scheme = schemes.parse("level 0.3, to 0, fit")
    assert tables.read_table(tables.merged("", model, {case: {3: scheme}})) == {model: {case: {3: str(scheme)}}}


@pytest.mark.parametrize(
    "path", sorted(Path(tasks.get("jpeg").schemes_file()).parent.glob("*.toml")), ids=lambda p: p.stem
)
def test_files_of_the_package_can_be_merged_into(path):
    text = path.read_text(encoding="utf-8")
    merged = tables.merged(text, "new", {"any": {1: schemes.parse("level 0.3, to 0, fit")}})
    assert {**tables.read_table(text), "new": {"any": {1: "level 0.3, to 0, fit"}}} == tables.read_table(merged)
    assert tables.leading_comment(merged) == tables.leading_comment(text)


@pytest.mark.parametrize(
    "text",
    [
        "[project]\nname = 'x'",
        "a = 1",
        "[a.b]\n1 = 2",
        "[a.b]\nx = 'mean, fit'",
        "[a.b]\n1 = 'level x'",
        "[",
        "[a.b.c]\n1=1",
    ],
)
def test_other_files_raise_an_error(text):
    with pytest.raises(RestoreError, match="not a file of schemes"):
        tables.read_table(text)
