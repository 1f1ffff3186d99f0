"""Noisy measurements: estimates the noise level, and keeps noise out of `fit`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Operator
from .dct import HALF_RANGE

WINDOW = 5  # pixels: side of the neighbourhood over which the squared residual is averaged

SIDE = 4  # of a patch
PATCHES = 1 << 16  # the largest number used, about
FEWEST = 400  # patches without black or white pixels: with fewer there is no estimate
FLAT = 0.2  # share of the patches that are used: those with the least variation
LEAST = 0.1  # share of the directions that are used: those with the least variance
FOUND = 2.5 / HALF_RANGE  # below, it may be texture: of 96 clean small pictures one exceeds 2.4 8-bit steps
MEDIAN = 0.6745  # of |n|, n ~ N(0, 1)


class Noisy(Operator):
    """A x = x; y is x plus noise of standard deviation sigma.

    The residual r = y - x is partly noise, and Wiener's filter keeps the rest: with the mean square <r^2> over the
    window around a pixel,

        fit(x, y) = x + max(0, 1 - sigma^2 / <r^2>) r

    so that x is unchanged where it differs from y by no more than the noise.

    Args:
        sigma: (B or 1,), for images in [-1, 1].
    """

    def __init__(self, sigma: Tensor) -> None:
        self.sigma = sigma

    def A(self, x: Tensor) -> Tensor:
        """The image itself: operators do not include noise."""
        return x

    def pinv(self, y: Tensor) -> Tensor:
        """The measurement itself."""
        return y

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + max(0, 1 - sigma^2 / <r^2>) r."""
        r = y - x
        edge = WINDOW // 2
        square = F.pad(r.square().mean(1, keepdim=True), (edge,) * 4, mode="replicate")
        power = F.avg_pool2d(square, WINDOW, 1).clamp(min=1e-12)
        return (1 - self.sigma.to(x).view(-1, 1, 1, 1) ** 2 / power).clamp(min=0) * r + x


def estimate_noise(x: Tensor) -> float:
    """Estimates the standard deviation of the noise in a picture, on the scale of [-1, 1]; 0: negligible.

    x is (1, 3, H, W) in [-1, 1]. Noise has the same variance in all directions of the space of patches, while pictures
    hardly vary in some of them: fine colour differences. So the noise is estimated, by the median, from the directions
    of least variance (PCA, Pyatykh et al. 2013), in the patches that vary least in the other directions. In grey
    pictures those directions contain fine texture: they count as clean, as do small ones. The estimate is 5 to 15 % too
    low.

        >>> clean = torch.linspace(-0.9, 0.9, 64).expand(1, 3, 64, 64)
        >>> noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> estimate_noise(clean), 0.04 < estimate_noise(clean + 0.05 * noise) < 0.055
        (0.0, True)
    """
    if bool((x == x[:, :1]).all()) or min(x.shape[2:]) < SIDE:
        return 0.0
    p = _patches(x.float().cpu())
    p = p[p.abs().amax(1) < 1 - 1 / 255]  # noise is clipped at black and white
    if len(p) < FEWEST:
        return 0.0
    p = p - p.mean(0)
    directions = torch.linalg.eigh((p.T @ p / len(p)).double()).eigenvectors.float()
    count = p.shape[1]
    rest = (p @ directions[:, count // 2 :]).square().sum(1)
    flat = p[rest <= rest.quantile(FLAT)] @ directions[:, : max(round(LEAST * count), 1)]
    sigma = float(flat.abs().median(0).values.min() / MEDIAN)
    return sigma if sigma >= FOUND else 0.0


def _patches(x: Tensor) -> Tensor:
    """Patches of x (1, 3, H, W) as rows, evenly subsampled if there are many."""
    places = (x.shape[2] - SIDE + 1) * (x.shape[3] - SIDE + 1)
    step = -(-places // PATCHES)  # split evenly between rows and columns
    step = max(round(step**0.5), 1)
    return x[0].unfold(1, SIDE, step).unfold(2, SIDE, step).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
