"""Noise: the operators that keep it out of `fit`, and how it is measured."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.operators import LumaNoisy, NoiseLevel, Noisy, White, measure_noise
from bcm_restore.operators.dct import HALF_RANGE
from bcm_restore.simulation.noise import sensor_noise, white_noise
from bcm_restore.tasks.arrays import to_tensor

PHOTOS = {name: getattr(skimage.data, name)()[:192, 100:292] for name in ("astronaut", "chelsea", "coffee", "rocket")}


def measured(picture):
    found = measure_noise(to_tensor(picture)[0])
    return found, np.array(found.sigmas) * HALF_RANGE


@pytest.mark.parametrize("operator", [White, LumaNoisy, lambda grain: Noisy(torch.tensor([0.1]), grain)])
def test_grain_blends_the_measurements_with_the_fitted_image(operator):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, 9, 7, generator=generator) * 2 - 1 for _ in range(2))
    clear = operator(0.0).fit(x, y)
    torch.testing.assert_close(operator(0.25).fit(x, y), 0.75 * clear + 0.25 * y)
    torch.testing.assert_close(operator(1.0).fit(x, y), y)
    assert torch.equal(White(0.0).fit(x, y), x)


@pytest.mark.parametrize("name", PHOTOS)
def test_clean_photographs_have_no_noise(name):
    assert not any(measured(PHOTOS[name])[0].sigmas)


@pytest.mark.parametrize("sigma", [4, 12, 50])
@pytest.mark.parametrize("name", PHOTOS)
def test_white_noise_is_measured_also_where_most_patches_are_clipped(name, sigma):
    found, levels = measured(white_noise(PHOTOS[name], sigma, np.random.default_rng(0)))
    assert not found.shared
    assert not found.coarse
    assert levels == pytest.approx(np.full(3, sigma), rel=0.25)


def test_channels_that_differ_are_measured_on_their_own():
    sigma = np.array([4, 10, 25])
    picture = PHOTOS["astronaut"]
    noisy = np.clip(np.rint(picture + np.random.default_rng(0).normal(size=picture.shape) * sigma), 0, 255)
    assert measured(noisy.astype(np.uint8))[1] == pytest.approx(sigma, rel=0.3)


@pytest.mark.parametrize("sigma", [5, 12, 50])
def test_noise_of_grey_pictures_is_shared(sigma):
    grey = np.repeat(PHOTOS["astronaut"].mean(2, keepdims=True), 3, 2).astype(np.uint8)
    found, levels = measured(np.repeat(white_noise(grey, sigma, np.random.default_rng(0))[..., :1], 3, 2))
    assert found.shared
    assert levels == pytest.approx(np.full(3, sigma), rel=0.3)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_noise_of_a_sensor_is_coarse(name):
    noisy, clean = sensor_noise(PHOTOS[name], 0.01, 0.01, np.random.default_rng(0))
    found, levels = measured(noisy)
    assert found.coarse
    true = np.sqrt(np.mean((noisy.astype(float) - clean) ** 2))
    assert levels == pytest.approx(np.full(3, true), rel=0.4)


@pytest.mark.parametrize("name", ["astronaut", "rocket"])  # with smooth areas
def test_noise_of_a_sensor_is_found_in_a_jpeg_by_its_luma(name):
    noisy, clean = (jpeg(picture, 95) for picture in sensor_noise(PHOTOS[name], 0.01, 0.01, np.random.default_rng(0)))
    assert measured(clean)[0] == NoiseLevel()
    found, levels = measured(noisy)
    assert found.coarse
    luma = np.std(noisy.mean(2) - clean.mean(2))
    assert levels == pytest.approx(np.full(3, 3**0.5 * luma), rel=0.3)


def jpeg(picture, quality):
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def coarse_noise(sigma, seed):
    """Colours (256, 256, 3) that are correlated between neighbours."""
    small = np.random.default_rng(seed).normal(0, sigma, (130, 130, 3))
    return np.asarray(cv2.resize(small, (260, 260), interpolation=cv2.INTER_LINEAR))[2:-2, 2:-2]


def test_coarse_texture_in_a_part_of_a_picture_is_not_noise():
    ramp, texture = np.linspace(60, 180, 256)[:, None, None], coarse_noise(20, 0)
    assert measured((ramp + texture).round().astype(np.uint8))[0].coarse
    texture[:, 128:] = 0
    assert measured((ramp + texture).round().astype(np.uint8))[0] == NoiseLevel()


def test_coarse_noise_is_measured_where_there_is_no_texture():
    ramp, noise, texture = np.linspace(60, 180, 256)[:, None, None], coarse_noise(10, 0), coarse_noise(25, 1)
    alone, level = measured((ramp + noise).round().astype(np.uint8))
    texture[:, 128:] = 0
    beside, found = measured((ramp + noise + texture).round().astype(np.uint8))
    assert alone.coarse
    assert beside.coarse
    assert found == pytest.approx(level, rel=0.1)


def test_the_level_for_networks_is_that_of_independent_noise():
    found = NoiseLevel((0.1, 0.2, 0.2))
    assert found.per_channel == pytest.approx(3**0.5 / 10)
    assert found.sigma == found.per_channel
    assert NoiseLevel((0.1,) * 3, shared=True).sigma == pytest.approx(0.1 * 3**0.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (23, 40), (24, 24)])
def test_pictures_of_any_size_are_measured(size):
    assert measured(np.full((*size, 3), 128, np.uint8))[1].tolist() == [0, 0, 0]
    assert measured(np.full((*size, 3), 255, np.uint8))[1].tolist() == [0, 0, 0]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60), st.booleans(), st.sampled_from([0, 5, 40]))
def test_any_size_is_measured(height, width, grey, sigma):
    noisy = white_noise(np.full((height, width, 3), 128, np.uint8), sigma, np.random.default_rng(0))
    found = measured(np.repeat(noisy[..., :1], 3, 2) if grey else noisy)[0]
    assert (found.sigma > 0) == (sigma > 0 and min(height, width) >= 24)
