"""Measures the noise of photographs: in each channel, where white or black clips it, and after demosaicing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dct import HALF_RANGE
from .noise_level import (
    BLOCK,
    COARSE,
    FEWEST,
    FINE,
    FLAT,
    FLATTEST,
    FLOOR,
    FOUND,
    LEAST,
    MANY,
    MEDIAN,
    SHARED_FOUND,
    WHITE,
    patches,
)

CLIPPED = 2 / HALF_RANGE  # patches whose mean is this near to black or white are clipped
ROUNDS = 4  # of measuring, and then leaving out the patches that noise of this level clips
UNLIKE = 1.5  # channels differ if the noisiest has at least this many times the noise of the quietest
CORRELATED = 2.0  # white noise is halved in an image of half the size; coarse noise less, by this factor or more
COARSE_FOUND = 3.5 / HALF_RANGE  # below, it may be texture


class PhotoNoise(NamedTuple):
    """The noise of a picture.

    Attributes:
        sigmas: its standard deviation in each channel, for images in [-1, 1]; zeros: negligible.
        shared: whether all channels have the same noise: in grey pictures, or if chroma has been smoothed.
        coarse: whether it is correlated between neighbouring pixels, as demosaicing leaves it.
    """

    sigmas: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shared: bool = False
    coarse: bool = False


def measure_noise(x: Tensor) -> PhotoNoise:
    """Measures the noise of a picture (1, 3, H, W) in [-1, 1].

    >>> clean = torch.linspace(-0.5, 0.5, 128).expand(1, 3, 128, 128)
    >>> noise = torch.randn(3, 128, 128, generator=torch.Generator().manual_seed(0))
    >>> measure_noise(clean).sigmas
    (0.0, 0.0, 0.0)
    >>> noisy = clean + torch.tensor([0.05, 0.1, 0.2]).view(3, 1, 1) * noise
    >>> [round(sigma, 2) for sigma in measure_noise(noisy).sigmas]
    [0.05, 0.1, 0.2]
    """
    x = x.float().cpu()
    if min(x.shape[2:]) < 3 * BLOCK:
        return PhotoNoise()
    if not is_grey(x):
        sigma, halved = _settled(x, _independent), 2 * _settled(F.avg_pool2d(x, 2), _independent)
        if halved >= max(COARSE_FOUND, CORRELATED * sigma):
            return PhotoNoise((halved,) * 3, coarse=True)
        if sigma >= FOUND:
            return PhotoNoise(_in_channels(x, sigma))
    sigma = _settled(x.mean(1, keepdim=True), _shared)
    return PhotoNoise((sigma,) * 3, shared=True) if sigma >= SHARED_FOUND else PhotoNoise()


def is_grey(x: Tensor) -> bool:
    """Whether all channels are equal."""
    return bool((x == x[:, :1]).all())


def _settled(x: Tensor, measure: Callable[[Tensor, float], float]) -> float:
    """The level of noise measured where it is not clipped: where the mean is further from black and white."""
    sigma = 0.0
    for _ in range(ROUNDS):
        sigma = measure(x, 1 - max(sigma, CLIPPED))
    return sigma


def _in_channels(x: Tensor, least: float) -> tuple[float, float, float]:
    """The level in each channel, or that of the quietest one in all of them if they do not differ.

    Levels that are measured in single channels include texture, most in all of them alike.
    """
    own = [_settled(x[:, n : n + 1], _independent) for n in range(3)]
    red, green, blue = own if max(own) >= UNLIKE * min(own) else [least] * 3
    return red, green, blue


def _independent(x: Tensor, furthest: float) -> float:
    """The level of noise that is independent between channels; see `noise_level`, whose minimum is a mean here.

    Args:
        x: (1, C, H, W).
        furthest: the largest absolute mean of a patch.
    """
    p = patches(x)
    extreme = p.unflatten(1, (x.shape[1], -1)).mean(2).abs().amax(1)
    used = extreme <= furthest
    p = p[used] if used.sum() >= FEWEST else p[extreme.argsort()[:FEWEST]]
    p = p - p.mean(0)
    directions = torch.linalg.eigh((p.T @ p / len(p)).double()).eigenvectors.float()
    count = p.shape[1]
    rest = (p @ directions[:, count // 2 :]).square().sum(1)
    flat = p[rest <= rest.quantile(FLAT)] @ directions[:, : max(round(LEAST * count), 1)]
    return float(flat.abs().median(0).values.mean() / MEDIAN)


def _shared(luma: Tensor, furthest: float) -> float:
    """The level of noise that all channels share, from flat blocks; see `noise_level`. 0: texture.

    Args:
        luma: (1, 1, H, W).
        furthest: the largest absolute mean of a block.
    """
    line = torch.tensor([1.0, -2.0, 1.0])
    fine = line[:, None] * line / 6
    coarse = fine.repeat_interleave(2, 0).repeat_interleave(2, 1) / 2
    bands = torch.cat([F.conv2d(luma, fine[None, None])[:, :, 1:-2, 1:-2], F.conv2d(luma, coarse[None, None])], 1)
    power = F.avg_pool2d(bands.square(), BLOCK, 1)[0].flatten(1)
    extreme = F.avg_pool2d(luma[:, :, 2:-3, 2:-3], BLOCK, 1).abs().flatten()
    used = extreme <= furthest
    power = power[:, used] if used.sum() >= FEWEST else power[:, extreme.argsort()[:FEWEST]]
    total = power.sum(0)
    flattest, many = total.quantile(FLATTEST), total.quantile(MANY)
    fine_sigma, coarse_sigma = (power[:, total <= flattest].mean(1).sqrt() / torch.tensor([FINE, COARSE])).tolist()
    return fine_sigma if coarse_sigma < WHITE * fine_sigma and many < FLOOR**2 * flattest else 0.0
