"""Metrics refuse invalid inputs."""

import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.metrics import structural_similarity

from bcm_restore import metrics
from bcm_restore.errors import RestoreError


@pytest.fixture
def pair(portrait):
    noise = np.random.default_rng(0).normal(0, 10, portrait.shape)
    return np.clip(portrait + noise, 0, 255).astype(np.uint8), portrait


def test_ssim_of_grey_pictures():
    grey = skimage.data.camera()[::4, ::4]
    noisy = np.clip(grey + np.random.default_rng(0).normal(0, 10, grey.shape), 0, 255).astype(np.uint8)
    expected = structural_similarity(noisy, grey, data_range=255)
    assert metrics.ssim(noisy, grey) == pytest.approx(expected)
    threefold = np.stack([noisy] * 3, -1), np.stack([grey] * 3, -1)
    assert metrics.ssim(*threefold) == pytest.approx(expected)
    assert 0 < metrics.ssim(noisy, grey, grey > 100) < 1


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.psnr_y, metrics.ssim, metrics.lpips])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a, b: (a / 255, b / 255), r"look like \[0, 1\]; metrics take 0 to 255"),
        (lambda a, b: (a, b / 255), r"look like \[0, 1\]"),
        (lambda a, b: (a / 127.5 - 1, b / 127.5 - 1), "floats from -1 to"),
        (lambda a, b: (a.astype(np.uint16) * 257, b), "a picture of uint16; give uint8"),
        (lambda a, b: (a > 9, b > 9), "a picture of bool"),
        (lambda a, b: (a * np.nan, b), "floats from nan to nan"),
        (lambda a, b: (a[..., 0], b), r"shape \(128, 128\) and \(128, 128, 3\) cannot be compared"),
        (lambda a, b: (a[:64], b), "cannot be compared"),
        (lambda a, b: (Image.fromarray(a), b), "Image is not an array"),
    ],
)
def test_invalid_inputs_are_refused(pair, metric, change, reason):
    with pytest.raises(RestoreError, match=reason):
        metric(*change(*pair))


def test_channels_first_are_refused_where_channels_matter(pair):
    first = tuple(np.moveaxis(picture, -1, 0) for picture in pair)
    for metric in (metrics.psnr_y, metrics.ssim, metrics.lpips):
        with pytest.raises(RestoreError, match=r"shape \(3, 128, 128\); give \(H, W, 3\)"):
            metric(*first)
    assert metrics.psnr(*first) == pytest.approx(metrics.psnr(*pair))


def test_small_pictures_are_refused(pair):
    with pytest.raises(RestoreError, match="windows of 7x7"):
        metrics.ssim(pair[0][:6], pair[1][:6])
    with pytest.raises(RestoreError, match="the least is 32x32"):
        metrics.lpips(pair[0][:31], pair[1][:31])


def test_invalid_masks_are_refused(pair):
    for where in (np.ones((128, 128), np.uint8), np.ones((64, 64), bool), [True]):
        for metric in (metrics.psnr, metrics.ssim):
            with pytest.raises(RestoreError, match="give a bool array"):
                metric(*pair, where)


def test_floats_from_0_to_255_and_black_pictures_are_compared(pair):
    assert metrics.psnr(pair[0].astype(float), pair[1]) == pytest.approx(metrics.psnr(*pair))
    assert metrics.psnr(np.zeros((8, 8)), np.zeros((8, 8))) == np.inf
