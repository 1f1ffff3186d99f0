"""Denoising: the posterior mean at the measured or given level, grain, and noise that is shared or coarse."""

import re

import numpy as np
import pytest
import skimage.data
import torch
from helpers.networks import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter, minimum_filter

from bcm_restore import spans, tasks
from bcm_restore.errors import NothingToRestore, RestoreError
from bcm_restore.large import MemoryImage
from bcm_restore.model import BCM
from bcm_restore.networks import TiledNetwork
from bcm_restore.operators.dct import HALF_RANGE
from bcm_restore.simulation.noise import sensor_noise, white_noise
from bcm_restore.tasks.folding import FoldedImage, order, unfolded, unfolded_array

DENOISE = tasks.get("denoise")
CLEAN = np.ascontiguousarray(skimage.data.astronaut()[:96, 160:255])
SIDES = st.integers(1, 12)


def mean_model():
    """A model whose posterior mean is defined, with random weights."""
    return BCM(TiledNetwork(SMALL, 96), device="cpu", diagonal=True, level_maps=True, name="toy")


def rng():
    return np.random.default_rng(0)


def level_of(problem):
    return problem.t0 * HALF_RANGE


@pytest.mark.parametrize("sigma", [12, (5, 10, 20)])
def test_the_result_is_the_posterior_mean_at_the_root_mean_square(sigma):
    x = torch.from_numpy(white_noise(CLEAN, 10, rng())).permute(2, 0, 1).float() / 255
    model = mean_model()
    result = DENOISE.run(x, sigma=sigma, model=model)
    level = np.sqrt(np.mean(np.square(sigma))) / HALF_RANGE
    expected = model.mean(2 * x[None] - 1, torch.tensor([level], dtype=torch.float64), None, None)
    # flat areas stay flat: nothing is further than half their range from the pixels up to four rows and columns away
    low, high = (torch.from_numpy(each(x.numpy(), (1, 9, 9))) for each in (minimum_filter, maximum_filter))
    margin = (high - low) / 2
    clamped = ((expected[0] + 1) / 2).clamp(low - margin, high + margin)
    torch.testing.assert_close(result.image, clamped.clamp(0, 1))
    assert (result.nfe, result.case, str(result.scheme)) == (1, "independent", "mean, fit")


@pytest.mark.parametrize("kind", ["independent", "shared", "coarse"])
def test_grain_is_a_share_of_what_was_removed(kind):
    if kind == "coarse":
        noisy = sensor_noise(CLEAN, 0.01, 0.01, rng())[0]
    else:
        noisy = white_noise(np.repeat(CLEAN[..., :1], 3, 2) if kind == "shared" else CLEAN, 12, rng())
        noisy = np.repeat(noisy[..., :1], 3, 2) if kind == "shared" else noisy
    x = torch.from_numpy(noisy).permute(2, 0, 1).double() / 255 * 0.8 + 0.1
    results = {
        grain: DENOISE.run(x, grain=grain, model=mean_model(), scheme="mean, fit", sigma=None) for grain in (0, 0.3, 1)
    }
    assert {one.case for one in results.values()} == {kind}
    clear, some, all_of_it = (one.image for one in results.values())
    inside = (clear > 0) & (clear < 1)  # results are clipped
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(some[inside], (clear + 0.3 * (x - clear))[inside], rtol=0, atol=1e-5)
    torch.testing.assert_close(all_of_it, x, rtol=0, atol=1e-5)


def test_the_level_is_measured():
    problem = DENOISE.problem(2 * torch.from_numpy(white_noise(CLEAN, 15, rng())).permute(2, 0, 1)[None] / 255 - 1)
    assert level_of(problem) == pytest.approx(15, rel=0.1)
    assert problem.remark.startswith("noise of standard deviation 1")


def test_what_is_said_about_levels_that_differ():
    sigma = np.array([4, 10, 30])
    noisy = np.clip(np.rint(CLEAN + rng().normal(size=CLEAN.shape) * sigma), 0, 255).astype(np.uint8)
    remark = DENOISE.run(noisy, model=mean_model()).remark
    assert re.fullmatch(r"noise of standard deviation [\d.]+, [\d.]+, [\d.]+ of 255 in red, green and blue", remark)
    given_remark = DENOISE.run(noisy, sigma=(4, 10, 30), model=mean_model()).remark
    assert given_remark == "given noise of standard deviation 4, 10, 30 of 255 in red, green and blue"


def test_a_picture_without_noise_is_left_alone():
    with pytest.raises(NothingToRestore, match="no noise found in the pixels; give sigma"):
        DENOISE.run(CLEAN, model=mean_model())
    assert DENOISE.run(CLEAN, sigma=3, model=mean_model()).image.shape == CLEAN.shape


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"sigma": 0}, "sigma 0: give a standard deviation above 0"),
        ({"sigma": float("nan")}, "sigma nan: give"),
        ({"sigma": 256}, "sigma 256: give"),
        ({"sigma": (5, 5)}, r"sigma \(5, 5\): give a standard deviation above 0, at most 255, or one for each channel"),
        ({"sigma": "much"}, "sigma='much' is a str"),
        ({"grain": 1.5}, "grain 1.5: give the share of the noise to keep, 0 to 1"),
        ({"grain": -1}, "grain -1: give"),
        ({"nfe": 5}, "denoise has no default scheme with NFE 5; choose 1, 2, 3, 4, 8, or give a scheme"),
    ],
)
def test_inputs_out_of_range_are_refused(inputs, message):
    with pytest.raises(RestoreError, match=message):
        DENOISE.run(white_noise(CLEAN, 15, rng()), model=mean_model(), **inputs)


@pytest.mark.parametrize("kind", ["independent", "shared", "coarse"])
def test_large_pictures_are_denoised_as_in_memory(kind, monkeypatch):
    grey = np.repeat(CLEAN[..., :1], 3, 2)
    noisy = {
        "independent": lambda: white_noise(CLEAN, 12, rng()),
        "shared": lambda: np.repeat(white_noise(grey, 12, rng())[..., :1], 3, 2),
        "coarse": lambda: sensor_noise(CLEAN, 0.01, 0.01, rng())[0],
    }[kind]()
    whole = DENOISE.run(noisy, grain=0.2, model=mean_model())
    monkeypatch.setattr(spans, "LARGE", 1000)
    files = DENOISE.run(noisy, grain=0.2, model=mean_model())
    assert whole.case == files.case == kind
    assert np.array_equal(whole.image, files.image)


@settings(deadline=None)
@given(SIDES, SIDES)
def test_folding_keeps_every_pixel(height, width):
    x = torch.arange(float(3 * height * width)).view(1, 3, height, width)
    folded = FoldedImage(MemoryImage(x)).read(slice(0, height))
    assert torch.equal(folded[:, :, : (height + 1) // 2, : (width + 1) // 2], x[:, :, ::2, ::2])
    assert torch.equal(unfolded(folded), x)
    array = folded[0].permute(1, 2, 0).numpy()
    assert np.array_equal(unfolded_array(array), x[0].permute(1, 2, 0).numpy())
    assert np.array_equal(unfolded_array(array[..., 0]), x[0, 0].numpy())


@settings(deadline=None)
@given(SIDES, SIDES, st.data())
def test_regions_of_a_folded_image(height, width, data):
    x = torch.arange(float(3 * height * width)).view(1, 3, height, width)
    image = FoldedImage(MemoryImage(x))
    rows, columns = (
        slice(start, data.draw(st.integers(start + 1, length)))
        for length in (height, width)
        for start in [data.draw(st.integers(0, length - 1))]
    )
    assert torch.equal(image.read(rows, columns), image.read(slice(0, height))[:, :, rows, columns])


def test_neighbours_in_a_folded_image_are_two_pixels_apart_but_in_its_middle():
    assert sorted(order(9)) == list(range(9))
    steps = np.abs(np.diff(order(9)))
    assert steps.tolist() == [2, 2, 2, 2, 1, 2, 2, 2]
