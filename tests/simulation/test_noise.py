"""Simulated noise: its statistics, and the camera's pipeline."""

import numpy as np
import pytest
import skimage.data

from bcm_restore.simulation.degradations import noisy, sensor
from bcm_restore.simulation.noise import encoded, linear, mosaic, sensor_noise, white_noise

GREY = np.full((128, 128, 3), 128, np.uint8)


def rng():
    return np.random.default_rng(0)


def test_white_noise_has_the_given_deviation_and_is_clipped():
    found = white_noise(GREY, 10, rng()).astype(float)
    assert found.std() == pytest.approx((100 + 1 / 12) ** 0.5, rel=0.01)  # rounding adds 1/12
    assert abs(np.corrcoef(found[..., 0].ravel(), found[..., 1].ravel())[0, 1]) < 0.02
    dark = white_noise(np.zeros_like(GREY), 10, rng())
    assert (dark == 0).mean() == pytest.approx(0.5 + 0.02, abs=0.01)  # P(n < 0.5) of noise of level 10
    example = noisy(10)(GREY, rng())
    assert example.inputs == {"sigma": 10}
    assert np.array_equal(example.damaged, found)


def test_the_gamma_of_srgb():
    x = np.linspace(0, 1, 101)
    np.testing.assert_allclose(encoded(linear(x)), x, atol=1e-6)
    assert linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)


def test_the_mosaic_keeps_one_channel_of_each_pixel():
    x = np.arange(48.0).reshape(4, 4, 3)
    raw = mosaic(x)
    assert raw[0, 0] == x[0, 0, 0]
    assert raw[0, 1] == x[0, 1, 1]
    assert raw[1, 0] == x[1, 0, 1]
    assert raw[1, 1] == x[1, 1, 2]


def test_the_camera_keeps_the_colours():
    """The demosaicing is for the mosaic's pattern."""
    flat = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    assert np.abs(sensor_noise(flat, 0, 0, rng())[0].astype(int) - flat).max() <= 1
    photo = skimage.data.chelsea()[:64, :64]
    assert np.abs(sensor_noise(photo, 0, 0, rng())[0].astype(int) - photo).mean() < 6


def test_noise_of_a_sensor_is_coarse_and_grows_with_light():
    deviations = []
    for grey in (64, 192):
        picture = np.full((128, 128, 3), grey, np.uint8)
        found, clean = sensor_noise(picture, 0.01, 0.001, rng())
        r = linear(found / 255) - linear(clean / 255)
        green = r[1::2, 0::2, 1]  # pixels that the mosaic holds
        deviations.append(green.std() / linear(np.array(grey / 255)) ** 0.5)
        full = r[..., 1] - r[..., 1].mean()
        assert (full[:, 1:] * full[:, :-1]).mean() > 0.2 * full.var()
    assert deviations == pytest.approx([0.1, 0.1], rel=0.06)


def test_the_reference_of_a_sensor_is_its_picture_without_noise():
    example = sensor(0.01, 0.01)(GREY, rng())
    assert example.inputs == {}
    assert np.abs(example.clean.astype(int) - 128).max() <= 1
    assert 5 < (example.damaged.astype(float) - example.clean).std() < 30
