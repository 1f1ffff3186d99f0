"""PSNR of the luma."""

import math

import numpy as np
import pytest
import skimage.color
import skimage.metrics
from hypothesis import given
from hypothesis.extra.numpy import arrays

from bcm_restore import metrics

PICTURES = arrays(np.uint8, (3, 5, 3))


@given(PICTURES, PICTURES)
def test_luma_is_that_of_bt_601(a, b):
    luma = [skimage.color.rgb2ycbcr(picture / 255)[..., 0] for picture in (a, b)]
    error = ((luma[0] - luma[1]) ** 2).mean()
    expected = 10 * math.log10(255**2 / error) if error > 1e-20 else math.inf
    if error > 1e-20:
        assert metrics.psnr_y(a, b) == pytest.approx(expected)
    else:
        assert metrics.psnr_y(a, b) > 200
    assert metrics.psnr_y(a, a) == math.inf


def test_luma_of_known_pictures():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert metrics.psnr_y(white, black) == pytest.approx(20 * math.log10(255 / 219))  # Y is 16 to 235
    green = black.copy()
    green[..., 1] = 255
    assert metrics.psnr_y(green, black) == pytest.approx(20 * math.log10(255 / 128.553))


def test_psnr_without_pixels_is_infinite(portrait, noisy):
    assert metrics.psnr(noisy, portrait, np.zeros(portrait.shape[:2], bool)) == math.inf
