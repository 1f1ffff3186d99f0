"""Noise in what was measured: how much there is, and how little of it `fit` lets in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Operator
from .dct import LEVELS

WINDOW = 5  # pixels: side of the neighbourhood whose residual is looked at

SIDE = 4  # of a patch
PATCHES = 1 << 16  # are enough
FEWEST = 400  # patches away from black and white: of fewer nothing is known
FLAT = 0.2  # share of the patches, those with the least in them
LEAST = 0.1  # share of the directions, those with the least variance
FOUND = 2.5 / LEVELS  # below, it may be texture: of 96 clean small pictures one looks like more than 2.4 8-bit steps
MEDIAN = 0.6745  # of |n|, n ~ N(0, 1)


class Noisy(Operator):
    """A x = x; y is x and noise of standard deviation sigma.

    Of the residual r = y - x a part is noise, and Wiener's filter takes the rest: with its mean square <r^2> over the
    window around a pixel,

        fit(x, y) = x + max(0, 1 - sigma^2 / <r^2>) r

    so that x stays as it is where it is within the noise of y.

    Args:
        sigma: (B or 1,), for images in [-1, 1].
    """

    def __init__(self, sigma: Tensor) -> None:
        self.sigma = sigma

    def A(self, x: Tensor) -> Tensor:
        """The image itself: noise is no part of an operator."""
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
    """Standard deviation of the noise in a picture, on the scale of [-1, 1]; 0: none to speak of.

    x is (1, 3, H, W) in [-1, 1]. Noise is the same in all directions of the space of patches, pictures hardly vary in
    some of them: fine differences of colour. So it is read, by the median, off the directions of least variance
    (PCA, Pyatykh et al. 2013), in the patches that have the least in all others. In grey pictures those directions are
    full of fine texture: they are taken to be clean, as are small ones. What is found is 5 to 15 % too low.

        >>> clean = torch.linspace(-0.9, 0.9, 64).expand(1, 3, 64, 64)
        >>> noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> estimate_noise(clean), 0.04 < estimate_noise(clean + 0.05 * noise) < 0.055
        (0.0, True)
    """
    if bool((x == x[:, :1]).all()) or min(x.shape[2:]) < SIDE:
        return 0.0
    p = _patches(x.float().cpu())
    p = p[p.abs().amax(1) < 1 - 1 / 255]  # noise is cut off at black and white
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
    """Patches of x (1, 3, H, W) as rows, evenly chosen where there are many."""
    places = (x.shape[2] - SIDE + 1) * (x.shape[3] - SIDE + 1)
    step = -(-places // PATCHES)  # rows and columns of patches are taken alike
    step = max(round(step**0.5), 1)
    return x[0].unfold(1, SIDE, step).unfold(2, SIDE, step).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
