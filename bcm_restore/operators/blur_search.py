"""Finds the blur of a picture from its power spectrum."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .blur import ROUNDING
from .dct import HALF_RANGE
from .kernels import named
from .noise_level import MEDIAN

BLACK_OR_WHITE = 1 - 1 / HALF_RANGE  # noise is clipped there
SIDE = 256  # pixels: side of the tiles whose spectra are averaged
LEAST = 192  # pixels: the smallest side of a picture that is searched: in smaller ones a few edges look like a motion
LONGEST = 1 / 8  # of a tile's side: wider kernels are not searched, as a few long edges look like a long motion
LOWEST = 4  # periods in a tile: lower frequencies depend more on the window and on the picture than on the blur
RINGS, SECTORS = 32, 24  # cells of the frequency plane
CROWD = 8  # most frequencies that count in a cell: neighbours depend on each other, as edges are long
POWERS = (2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.3)  # p of sharp pictures
AMPLITUDES = 49
NOISES = (0.5, 1.0)  # multiples of the estimate, which takes some texture of sharp pictures for noise
TRIMS, WITHIN = 8, 0.9867  # rounds, and the standard deviation of n ~ N(0, 1) with |n| < 3
SURE = 0.5  # log-likelihood by which a blur must explain a cell better than no blur

GAUSSIANS = (0.7, 0.85, 1.0, 1.15, 1.3, 1.45, 1.6, 1.8, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
DISKS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
FINER = (0.93, 0.965, 1.0, 1.035, 1.07)  # of a Gaussian's sigma, between candidates
SOFT = 1.04  # factor by which the sigma found is too large, as sharp pictures are themselves a little soft
LENGTHS, ANGLES = (5, 7, 9, 11, 13, 15, 18, 21, 25, 30), range(0, 180, 15)
CANDIDATES = (
    *(f"gaussian:{sigma:g}" for sigma in GAUSSIANS),
    *(f"disk:{radius:g}" for radius in DISKS),
    *(f"motion:{length}:{angle}" for length in LENGTHS for angle in ANGLES),
)


def find_blur(y: Tensor, sigma: float) -> str | None:
    """Finds the kernel of a blurred picture (1, 3, H, W) in [-1, 1], as a text for `kernels.named`; None: no blur.

    `sigma` is the standard deviation of its noise, from `noise_of_blurred` or of a JPEG's rounding.

    The power spectrum of a sharp picture is about a / f^p. So that of a blurred one is S = a |K|^2 / f^p + sigma^2, and
    the blur is the kernel of the highest likelihood, with the best a, p and sigma for each (P. Whittle 1953):

        -log L = mean(log S + P / S),  with the measured power P
    """
    if min(y.shape[2:]) < LEAST:
        return None
    power, cells = _power(y)
    noise = torch.tensor([max(scale * sigma, ROUNDING) * HALF_RANGE for scale in NOISES])

    def score(text: str) -> float:
        return _likelihood(power, noise, cells, _transfer(text, cells.size))

    longest = LONGEST * min(cells.size)
    best = max((text for text in CANDIDATES if max(named(text).shape) <= longest), key=score)
    if score(best) < _likelihood(power, noise, cells, torch.ones_like(power)) + SURE:
        return None
    return _sharpened(max(_near(best), key=score))


def _near(text: str) -> list[str]:
    """A candidate and, for a Gaussian or a motion, those between it and its neighbours."""
    shape, *numbers = text.split(":")
    if shape == "disk":
        return [text]
    if shape == "gaussian":
        return [f"gaussian:{float(numbers[0]) * factor:.3g}" for factor in FINER]
    length, angle = map(int, numbers)
    return [f"motion:{length + more}:{(angle + turn) % 180}" for more in (-1, 0, 1) for turn in (-10, -5, 0, 5, 10)]


def _sharpened(text: str) -> str:
    """The blur without the picture's own softness, if it is a Gaussian."""
    shape, size, *_ = text.split(":")
    return f"gaussian:{float(size) / SOFT:.2g}" if shape == "gaussian" else text


def noise_of_blurred(y: Tensor) -> float:
    """The standard deviation of the noise of a blurred picture in [-1, 1], at least that of rounding to 8 bits.

    Blur leaves hardly anything but noise in the third differences of rows and columns. Their mean square is taken
    without outliers, those of more than three standard deviations, and without clipped pixels.
    """
    line = torch.tensor([1.0, -3.0, 3.0, -1.0]) / 20**0.5
    if min(y.shape[2:]) < len(line):
        return ROUNDING
    y = y.float().cpu()
    d = F.conv2d(y.transpose(0, 1), (line[:, None] * line)[None, None])[:, 0]
    clipped = (y.abs() >= BLACK_OR_WHITE).any(1, keepdim=True).float()
    d = d[:, F.max_pool2d(clipped, len(line), 1)[0, 0] == 0].abs()
    if not d.numel():
        return ROUNDING
    sigma = max(float(d.median()) / MEDIAN, ROUNDING)
    for _ in range(TRIMS):
        sigma = max(float(d[d < 3 * sigma].square().mean()) ** 0.5 / WITHIN, ROUNDING)
    return sigma


class Cells(NamedTuple):
    """Cells of the frequency plane of tiles: rings of equal width, cut into sectors.

    Attributes:
        size: (h, w) of a tile.
        used: (h, w // 2 + 1) bool: neither low frequencies nor those of the frame's edges.
        cell: the cell of each used frequency.
        counts: frequencies in each cell.
        frequency: the mean radius of each cell that is not empty, in periods per pixel.
    """

    size: tuple[int, int]
    used: Tensor
    cell: Tensor
    counts: Tensor
    frequency: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """The mean of values (h, w // 2 + 1) over each cell that is not empty."""
        return _mean(values[self.used], self.cell, self.counts)


@lru_cache(maxsize=4)
def cells_of(size: tuple[int, int]) -> Cells:
    """The cells for tiles of a size."""
    rows, columns = torch.meshgrid(torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1]), indexing="ij")
    radius, angle = rows.hypot(columns), torch.atan2(rows, columns) % math.pi
    lowest = LOWEST / min(size)
    used = (radius > lowest) & (radius <= 0.5) & (rows.abs() * size[0] > 1.5) & (columns * size[1] > 1.5)
    ring = ((radius - lowest) / (0.5 - lowest) * RINGS).long().clamp(0, RINGS - 1)
    sector = (angle / math.pi * SECTORS).long().clamp(0, SECTORS - 1)
    cell = (ring * SECTORS + sector)[used]
    count = torch.bincount(cell, minlength=RINGS * SECTORS)
    return Cells(size, used, cell, count, _mean(radius[used], cell, count))


def _mean(values: Tensor, cell: Tensor, count: Tensor) -> Tensor:
    total = torch.bincount(cell, weights=values.double(), minlength=len(count))
    return (total[count > 0] / count[count > 0]).float()


def _power(y: Tensor) -> tuple[Tensor, Cells]:
    """The power of the luma in each cell, on a scale of 0 to 255: the mean over windowed, half-overlapping tiles."""
    luma = y.float().cpu().mean(1)[0] * HALF_RANGE
    height, width = (min(SIDE, side) for side in luma.shape)
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    tiles = luma.unfold(0, height, height // 2).unfold(1, width, width // 2).flatten(0, 1)
    total = torch.zeros(height, width // 2 + 1)
    for tile in tiles:
        flat = tile - (tile * window).sum() / window.sum()
        total += torch.fft.rfft2(flat * window).abs().square()
    cells = cells_of((height, width))
    return cells.mean(total / (len(tiles) * window.square().sum())), cells


@lru_cache(maxsize=1024)
def _transfer(text: str, size: tuple[int, int]) -> Tensor:
    """|K|^2 in each cell."""
    kernel = named(text)
    canvas = torch.zeros(size)
    canvas[: kernel.shape[0], : kernel.shape[1]] = kernel
    return cells_of(size).mean(torch.fft.rfft2(canvas).abs().square())


def _likelihood(power: Tensor, noise: Tensor, cells: Cells, transfer: Tensor) -> float:
    """The mean log-likelihood of the power in the cells, with the best amplitude, exponent and noise."""
    weight = cells.counts[cells.counts > 0].clamp(max=CROWD).float()
    shape = transfer * cells.frequency ** -torch.tensor(POWERS)[:, None]
    low = cells.frequency < 0.15
    amplitude = (power[low] / shape[:, low]).mean(1) * torch.linspace(-2, 2, AMPLITUDES).exp()[:, None]  # (A, P)
    spectrum = (amplitude[:, :, None] * shape)[None] + noise.square()[:, None, None, None]
    return -float(((spectrum.log() + power / spectrum) * weight).sum(-1).min() / weight.sum())
