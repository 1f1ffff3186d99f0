"""Pixels decoded from a JPEG: recovering quality, sampling and coefficients."""

import numpy as np
import pytest
import torch
from helpers.jpegs import ALIGNED, KINDS, SAMPLINGS, compressed, guess, picture, psnr, reread, to_tensor
from PIL import Image
from skimage import data

from bcm_restore.errors import RestoreError
from bcm_restore.operators import Jpeg, estimate_quality
from bcm_restore.operators.dct import (
    to_rgb,
)
from bcm_restore.operators.jpeg_history import chroma, find_sampling, quality_of_parts


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_quality_is_found(kind):
    for quality in (5, 12, 30, 50, 71, 85, 90, 95):
        found = estimate_quality(reread(picture(250, 246, kind), quality, kind))
        assert found is not None and abs(found - quality) <= 2, (quality, found)


def test_quality_of_small_pictures():
    for quality in (20, 50, 75, 90):
        found = estimate_quality(reread(picture(64, 64), quality, "4:2:0"))
        assert found is not None and abs(found - quality) <= 2, (quality, found)


@pytest.mark.parametrize("quality", [30, 75])
def test_quality_of_overexposed_pictures(quality):
    bright = picture(256, 256).point(lambda value: min(255, 2 * value))
    assert np.mean(np.asarray(bright) == 255) > 0.1
    assert estimate_quality(reread(bright, quality, "4:2:0")) == quality


@pytest.mark.slow
def test_no_quality_without_jpeg():
    ramp = torch.linspace(-0.9, 0.9, 128).expand(3, 128, 128)[None]
    noise = torch.randint(1, 255, (1, 3, 128, 128)) / 127.5 - 1
    checks = (torch.arange(128)[:, None] // 16 + torch.arange(128) // 16).remainder(2).float().mul(0.5).expand_as(ramp)
    for x in (ramp, (ramp * 127.5).round() / 127.5, noise, checks, torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 5, 5)):
        assert estimate_quality(x) is None
    for name in ("astronaut", "camera", "coffee", "moon", "text"):
        image = Image.fromarray(getattr(data, name)())
        assert estimate_quality(to_tensor(image)) is None, name
    decoded = reread(picture(256, 256), 50, "4:4:4")
    assert estimate_quality(decoded) == 50
    assert estimate_quality(reread(picture(256, 256), 99)) is None  # too fine to be detected
    assert quality_of_parts([decoded[..., 3:, 5:]]) is None  # shifted block grid
    half = torch.nn.functional.avg_pool2d(decoded, 2)
    assert estimate_quality((half * 127.5).round() / 127.5) is None
    with pytest.raises(RestoreError, match="one at a time"):
        estimate_quality(torch.zeros(2, 3, 64, 64))


@pytest.mark.parametrize("size", [(250, 246), (128, 192)])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_sampling_is_found(kind, size):
    for quality in (10, 50, 75, 90):
        assert find_sampling(reread(picture(*size), quality, kind), quality) == SAMPLINGS[kind]
    assert find_sampling(to_tensor(picture(*size)), 50) is None
    assert find_sampling(reread(picture(*size, "grey"), 50, "grey"), 50) is None  # no colour: all fit equally well


@pytest.mark.parametrize("size", [(61, 45), (64, 48), (2, 1), (5, 6)])
def test_chroma_before_upsampling(size):
    """Against an explicit implementation of libjpeg's fancy upsampling."""
    height, width = size
    samples = torch.randn(2, -(-height // 2), -(-width // 2), dtype=torch.float64)
    pixels = samples
    for axis, length in ((1, height), (2, width)):
        index = torch.arange(length)
        near = index // 2
        far = (near + index.remainder(2) * 2 - 1).clamp(0, pixels.shape[axis] - 1)
        pixels = 0.75 * pixels.index_select(axis, near) + 0.25 * pixels.index_select(axis, far)
    ycc = torch.cat([torch.zeros(1, height, width), pixels])[None]
    assert torch.allclose(chroma(to_rgb(ycc), (2, 2)), samples, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_from_pixels(kind, tmp_path):
    image = picture(*ALIGNED, kind)
    for quality in (30, 50, 90):
        coefficients, decoded = compressed(image, tmp_path, quality, kind)
        operator, truth = Jpeg.from_pixels(decoded, quality), Jpeg(coefficients)
        assert operator.grey == (kind == "grey")
        assert len(operator.y) == len(truth.y)
        for ours, files in zip(operator.y, truth.y, strict=True):
            assert (ours == files).float().mean() > 0.98
            assert (ours[files != 0] == files[files != 0]).float().mean() > 0.85
        x = to_tensor(image)
        rough = guess(x, strength=0.3)
        assert psnr(operator.fit(rough, operator.y), x) > psnr(rough, x) + 0.25


def test_from_pixels_with_unclear_chroma():
    decoded = reread(picture(*ALIGNED), 50, "4:2:0")
    ripple = 0.05 * torch.sin(torch.arange(128.0)) * torch.tensor([1, -0.509, 0])[:, None, None]  # of Cr; no luma
    smeared = decoded + ripple
    assert estimate_quality(smeared) == 50
    operator = Jpeg.from_pixels(smeared, 50)
    assert len(operator.y) == 1 and not operator.grey
    assert len(Jpeg.from_pixels(smeared, 50, sampling=(2, 2)).y) == 3
