"""Measures the noise of photographs: in each channel, where white or black clips it, and after demosaicing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dct import HALF_RANGE

CLIPPED = 2 / HALF_RANGE  # patches whose mean is this near to black or white are clipped
ROUNDS = 4  # of measuring, and then leaving out the patches that noise of this level clips

SIDE = 4  # of a patch
PATCHES = 1 << 16  # the largest number used, about
FEWEST = 400  # patches or blocks that are used even if they are clipped
FLAT = 0.2  # share of the patches that are used: those with the least variation
LEAST = 0.1  # share of the directions that are used: those with the least variance
FOUND = 2.5 / HALF_RANGE  # below, it may be texture: of 96 clean small pictures one exceeds 2.4 8-bit steps
MEDIAN = 0.6745  # of |n|, n ~ N(0, 1)
UNLIKE = 1.5  # channels differ if the noisiest has at least this many times the noise of the quietest

CORRELATED = 2.0  # white noise is halved in an image of half the size; coarse noise less, by this factor or more
COARSE_FOUND = 3.5 / HALF_RANGE  # below, it may be texture
LUMA_FOUND = 4.5 / HALF_RANGE  # the same, where it is measured in luma
TINTED = 5.0  # noise of the luma is at most this many times that of the colours; texture often exceeds it
AREA = 32  # pixels of the image of half the size: side of the areas in which coarse noise is measured
QUIETEST = 0.05  # quantile of the areas' levels that is used: noise is everywhere, texture is not

BLOCK = 8  # pixels: side of the blocks in which the power of two frequency bands is measured
SMALLEST = 3 * BLOCK  # pixels: shorter sides are not measured
FLATTEST = 0.02  # share of the blocks that are used: those with the least power
FINE, COARSE = 0.729, 0.745  # standard deviations of both bands in those blocks, for white noise of level 1
MANY, FLOOR = 0.1, 1.4  # in noise, this share of the blocks is within this factor of the flattest ones' deviation
WHITE = 1.35  # the largest ratio of coarse to fine in noise; 78 clean pictures, downscaled by bicubic, all have more
CAUTIOUS = 20 / HALF_RANGE  # assumed at first for shared noise: blocks where it is clipped look like texture
SHARED_FOUND = 2.2 / HALF_RANGE  # below, shared noise is not reported
SHARED = 3**0.5  # a unit vector along grey has 1 / sqrt(3) in each channel


class NoiseLevel(NamedTuple):
    """The noise of a picture.

    Attributes:
        sigmas: its standard deviation in each channel, for images in [-1, 1]; zeros: negligible. If it is coarse, the
            level of independent noise with the same luma or chroma.
        shared: whether all channels have the same noise: in grey pictures, or if chroma has been smoothed.
        coarse: whether it is correlated between neighbouring pixels, as demosaicing leaves it.
    """

    sigmas: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shared: bool = False
    coarse: bool = False

    @property
    def per_channel(self) -> float:
        """The root mean square of the standard deviations."""
        return (sum(sigma**2 for sigma in self.sigmas) / 3) ** 0.5

    @property
    def sigma(self) -> float:
        """The level for a network trained on independent noise: `per_channel`, times sqrt(3) if the noise is shared."""
        return SHARED * self.per_channel if self.shared else self.per_channel


CLEAN = NoiseLevel()


def measure_noise(x: Tensor) -> NoiseLevel:
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
    if min(x.shape[2:]) < SMALLEST:
        return CLEAN
    if not is_grey(x):
        sigma = _settled(x, _independent)
        if coarse := _coarse(x, CORRELATED * sigma):
            return NoiseLevel((coarse,) * 3, coarse=True)
        if sigma >= FOUND:
            return NoiseLevel(_in_channels(x, sigma))
    sigma = _settled(x.mean(1, keepdim=True), _shared, CAUTIOUS)
    return NoiseLevel((sigma,) * 3, shared=True) if sigma >= SHARED_FOUND else CLEAN


def given_noise(x: Tensor, sigmas: tuple[float, float, float]) -> NoiseLevel:
    """Noise of known standard deviation in each channel; measures whether it is shared."""
    return NoiseLevel(sigmas, shared=is_grey(x) or measure_noise(x).shared)


def is_grey(x: Tensor) -> bool:
    """Whether all channels are equal."""
    return bool((x == x[:, :1]).all())


def _settled(x: Tensor, measure: Callable[[Tensor, float], float], sigma: float = 0.0) -> float:
    """The level of noise measured where it is not clipped: where the mean is further from black and white.

    Args:
        x: (1, C, H, W).
        measure: the level, from x and the largest absolute mean to use.
        sigma: the level that is assumed at first.
    """
    for _ in range(ROUNDS):
        sigma = measure(x, 1 - max(sigma, CLIPPED))
    return sigma


def _coarse(x: Tensor, least: float) -> float:
    """The level of coarse noise; 0: none, or less than `least`.

    It is white in the image of half the size. A JPEG keeps it in luma alone, where independent noise of level s has the
    level s / sqrt(3).
    """
    half = F.avg_pool2d(x, 2)
    if min(half.shape[2:]) < SMALLEST:
        return 0.0
    colour = 2 * (measured := _settled(half, _independent))
    if colour >= max(COARSE_FOUND, least):
        colour = min(colour, 2 * _in_quiet_areas(half, 1 - max(measured, CLIPPED)))
    luma = 2 * SHARED * _settled(half.mean(1, keepdim=True), _shared)
    luma = luma if LUMA_FOUND <= luma <= TINTED * colour else 0.0
    level = max(colour if colour >= COARSE_FOUND else 0.0, luma)
    if level < least or not level:
        return 0.0
    white = SHARED * _settled(x.mean(1, keepdim=True), _shared, CAUTIOUS)
    return level if level >= CORRELATED * white else 0.0


def _in_channels(x: Tensor, least: float) -> tuple[float, float, float]:
    """The level in each channel, or that of the quietest one in all of them if they do not differ.

    Levels that are measured in single channels include texture, most in all of them alike.
    """
    own = [_settled(x[:, n : n + 1], _independent) for n in range(3)]
    red, green, blue = own if max(own) >= UNLIKE * min(own) else [least] * 3
    return red, green, blue


def _independent(x: Tensor, furthest: float) -> float:
    """The level of noise that is independent between channels.

    Noise has the same variance in all directions of the space of patches, while pictures hardly vary in some of them:
    fine colour differences. So the noise is measured, by the median, in the directions of least variance (PCA,
    Pyatykh et al. 2013), in the patches that vary least in the other directions.

    Args:
        x: (1, C, H, W).
        furthest: the largest absolute mean of a patch.
    """
    p, directions = _patches(x, furthest)
    count = p.shape[1]
    rest = (p @ directions[:, count // 2 :]).square().sum(1)
    flat = p[rest <= rest.quantile(FLAT)] @ directions[:, : _least(count)]
    return float(flat.abs().median(0).values.mean() / MEDIAN)


def _in_quiet_areas(x: Tensor, furthest: float) -> float:
    """The level in the areas of x (1, C, H, W) that vary least in the directions of `_independent`."""
    directions = _patches(x, furthest)[1]
    kernels = directions[:, : _least(len(directions))].T.unflatten(1, (x.shape[1], SIDE, SIDE))
    side = min(AREA, min(x.shape[2:]) - SIDE + 1)

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, side, max(side // 4, 1))[0].flatten(1)

    found = F.conv2d(x, kernels)
    level = (mean(found.square()) - mean(found).square()).clamp(min=0).mean(0).sqrt()
    used = mean(x[:, :, 1:-2, 1:-2]).abs().amax(0) <= furthest
    return float((level[used] if used.any() else level).quantile(QUIETEST))


def _patches(x: Tensor, furthest: float) -> tuple[Tensor, Tensor]:
    """The patches (N, n) of x that are not clipped, less their mean, and their principal directions (n, n)."""
    p = _all_patches(x)
    extreme = p.unflatten(1, (x.shape[1], -1)).mean(2).abs().amax(1)
    p = _used(p, extreme, furthest)
    p = p - p.mean(0)
    return p, torch.linalg.eigh((p.T @ p / len(p)).double()).eigenvectors.float()


def _all_patches(x: Tensor) -> Tensor:
    """Patches of x (1, C, H, W) as rows, evenly subsampled if there are many."""
    places = (x.shape[2] - SIDE + 1) * (x.shape[3] - SIDE + 1)
    step = -(-places // PATCHES)  # split evenly between rows and columns
    step = max(round(step**0.5), 1)
    return x[0].unfold(1, SIDE, step).unfold(2, SIDE, step).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)


def _least(count: int) -> int:
    """How many of all directions are used."""
    return max(round(LEAST * count), 1)


def _used(rows: Tensor, extreme: Tensor, furthest: float) -> Tensor:
    """The rows that are not further from grey than `furthest`, or the `FEWEST` nearest ones."""
    used = extreme <= furthest
    return rows[used] if used.sum() >= FEWEST else rows[extreme.argsort()[:FEWEST]]


def _shared(luma: Tensor, furthest: float) -> float:
    """The level of noise that all channels share; 0: texture.

    In flat blocks white noise has the same power in a fine and in a coarse band (second differences of pixels, and of
    means of 2x2), while texture has more in the coarse one; and many blocks have hardly more than the minimum.

    Args:
        luma: (1, 1, H, W).
        furthest: the largest absolute mean of a block.
    """
    line = torch.tensor([1.0, -2.0, 1.0])
    fine = line[:, None] * line / 6
    coarse = fine.repeat_interleave(2, 0).repeat_interleave(2, 1) / 2
    bands = torch.cat([F.conv2d(luma, fine[None, None])[:, :, 1:-2, 1:-2], F.conv2d(luma, coarse[None, None])], 1)
    extreme = F.avg_pool2d(luma[:, :, 2:-3, 2:-3], BLOCK, 1).abs().flatten()
    power = _used(F.avg_pool2d(bands.square(), BLOCK, 1)[0].flatten(1).T, extreme, furthest)
    total = power.sum(1)
    flattest, many = total.quantile(FLATTEST), total.quantile(MANY)
    fine_sigma, coarse_sigma = (power[total <= flattest].mean(0).sqrt() / torch.tensor([FINE, COARSE])).tolist()
    return fine_sigma if coarse_sigma < WHITE * fine_sigma and many < FLOOR**2 * flattest else 0.0
