"""Estimates the noise level of a picture, and whether its channels have independent or shared noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dct import HALF_RANGE

BLACK_OR_WHITE = 1 - 1 / HALF_RANGE  # noise is clipped there

SIDE = 4  # of a patch
PATCHES = 1 << 16  # the largest number used, about
FEWEST = 400  # patches without black or white pixels: with fewer there is no estimate
FLAT = 0.2  # share of the patches that are used: those with the least variation
LEAST = 0.1  # share of the directions that are used: those with the least variance
FOUND = 2.5 / HALF_RANGE  # below, it may be texture: of 96 clean small pictures one exceeds 2.4 8-bit steps
MEDIAN = 0.6745  # of |n|, n ~ N(0, 1)

BLOCK = 8  # pixels: side of the blocks in which the power of two frequency bands is measured
FLATTEST = 0.02  # share of the blocks that are used: those with the least power
FINE, COARSE = 0.729, 0.745  # standard deviations of both bands in those blocks, for white noise of level 1
MANY, FLOOR = 0.1, 1.4  # in noise, this share of the blocks is within this factor of the flattest ones' deviation
WHITE = 1.35  # the largest ratio of coarse to fine in noise; 78 clean pictures, downscaled by bicubic, all have more
SHARED_FOUND = 2.2 / HALF_RANGE  # below, shared noise is not reported
SHARED = 3**0.5  # a unit vector along grey has 1 / sqrt(3) in each channel


class NoiseLevel(NamedTuple):
    """The noise of a picture.

    Attributes:
        sigma: the level for a network trained on independent noise, in [-1, 1]: the standard deviation in each
            channel, times sqrt(3) if the channels share it. 0: negligible.
        shared: whether all channels have the same noise: in grey pictures, or if chroma has been smoothed.
    """

    sigma: float = 0.0
    shared: bool = False

    @property
    def per_channel(self) -> float:
        """The standard deviation in each channel."""
        return self.sigma / SHARED if self.shared else self.sigma


CLEAN = NoiseLevel()


def estimate_noise(x: Tensor) -> NoiseLevel:
    """Estimates the noise of a picture (1, 3, H, W) in [-1, 1], from chroma if possible, else from luma.

    >>> clean = torch.linspace(-0.9, 0.9, 64).expand(1, 3, 64, 64)
    >>> noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> estimate_noise(clean).sigma, 0.04 < estimate_noise(clean + 0.05 * noise).sigma < 0.055
    (0.0, True)
    >>> estimate_noise(clean + 0.05 * noise[:, :1]).shared
    True
    """
    x = x.float().cpu()
    if min(x.shape[2:]) < 3 * BLOCK:
        return CLEAN
    if sigma := _independent(x):
        return NoiseLevel(sigma)
    sigma = _shared(x)
    return NoiseLevel(SHARED * sigma, bool(sigma))


def known_noise(x: Tensor, sigma: float) -> NoiseLevel:
    """The noise of a picture with known standard deviation in each channel; estimates whether it is shared."""
    grey = bool((x == x[:, :1]).all())
    shared = grey or (sigma > 2 * FOUND and not _independent(x.float().cpu()))
    return NoiseLevel(SHARED * sigma, True) if shared else NoiseLevel(sigma)


def _independent(x: Tensor) -> float:
    """The standard deviation of noise that is independent between channels; 0: negligible.

    Noise has the same variance in all directions of the space of patches, while pictures hardly vary in some of them:
    fine colour differences. So the noise is estimated, by the median, from the directions of least variance (PCA,
    Pyatykh et al. 2013), in the patches that vary least in the other directions. The estimate is 5 to 15 % too low.
    """
    if bool((x == x[:, :1]).all()):
        return 0.0
    p = patches(x)
    p = p[p.abs().amax(1) < BLACK_OR_WHITE]
    if len(p) < FEWEST:
        return 0.0
    p = p - p.mean(0)
    directions = torch.linalg.eigh((p.T @ p / len(p)).double()).eigenvectors.float()
    count = p.shape[1]
    rest = (p @ directions[:, count // 2 :]).square().sum(1)
    flat = p[rest <= rest.quantile(FLAT)] @ directions[:, : max(round(LEAST * count), 1)]
    sigma = float(flat.abs().median(0).values.min() / MEDIAN)
    return sigma if sigma >= FOUND else 0.0


def patches(x: Tensor) -> Tensor:
    """Patches of x (1, C, H, W) as rows, evenly subsampled if there are many."""
    places = (x.shape[2] - SIDE + 1) * (x.shape[3] - SIDE + 1)
    step = -(-places // PATCHES)  # split evenly between rows and columns
    step = max(round(step**0.5), 1)
    return x[0].unfold(1, SIDE, step).unfold(2, SIDE, step).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)


def _shared(x: Tensor) -> float:
    """The standard deviation of noise that all channels share; 0: negligible.

    In flat blocks white noise has the same power in a fine and in a coarse band (second differences of pixels, and of
    means of 2x2), while texture has more in the coarse one; and many blocks have hardly more than the minimum.
    """
    line = torch.tensor([1.0, -2.0, 1.0])
    fine = line[:, None] * line / 6
    coarse = fine.repeat_interleave(2, 0).repeat_interleave(2, 1) / 2
    luma = x.mean(1, keepdim=True)
    bands = torch.cat([F.conv2d(luma, fine[None, None])[:, :, 1:-2, 1:-2], F.conv2d(luma, coarse[None, None])], 1)
    power = F.avg_pool2d(bands.square(), BLOCK, 1)[0].flatten(1)
    clipped = (x.abs().amax(1, keepdim=True) >= BLACK_OR_WHITE).float()[:, :, 2:-3, 2:-3]
    power = power[:, F.max_pool2d(clipped, BLOCK, 1).flatten() == 0]
    if power.shape[1] < FEWEST:
        return 0.0
    total = power.sum(0)
    least = total <= total.quantile(FLATTEST)
    fine_sigma, coarse_sigma = (power[:, least].mean(1).sqrt() / torch.tensor([FINE, COARSE])).tolist()
    white = coarse_sigma < WHITE * fine_sigma
    floor = total.quantile(MANY) < (FLOOR * FLOOR) * total.quantile(FLATTEST)
    return fine_sigma if fine_sigma >= SHARED_FOUND and white and floor else 0.0
