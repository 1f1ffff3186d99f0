"""Denoising: the posterior mean of a noisy picture, in one evaluation."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import NothingToRestore, RestoreError
from ..large import BandImage, BandProblem
from ..operators import LumaNoisy, NoiseLevel, Operator, White
from ..operators.dct import HALF_RANGE
from ..operators.noise import chroma
from ..operators.noise_level import SHARED
from ..operators.photo_noise import PhotoNoise, is_grey, measure_noise
from .arguments import real
from .band_task import BandTask
from .inputs import Input

SAMPLE = 1 << 22  # pixels of a large picture in which the noise is measured


class Denoise(BandTask):
    """The first estimate is the noisy picture; the result is its posterior mean, in one evaluation.

    Networks are trained for noise that is independent between channels. Shared noise is independent noise without its
    chroma part: that part is added, and `fit` restores the chroma afterwards. `fit` also keeps the grain.
    """

    name = "denoise"
    summary = "removes noise of a known or estimated level"
    batches = False  # pictures differ in noise
    default_nfe = 1
    inputs = (
        Input("sigma", float, "Standard deviation of the noise, of 255.", minimum=0.1, maximum=255),
        Input("grain", float, "Share of the noise to keep, 0 to 1.", minimum=0, maximum=1),
    )

    def pose(
        self,
        image: BandImage,
        *,
        sigma: float | Sequence[float] | None = None,
        grain: float = 0.0,
        noise: NoiseLevel | None = None,
        **inputs: Any,
    ) -> BandProblem:
        """Poses the problem of denoising a picture.

        Args:
            image: the noisy picture; not a batch.
            sigma: standard deviation of its noise in 8-bit steps, one or one for each channel; None: measured.
            grain: share of the noise that the result keeps, 0 to 1.
            noise: the noise, instead of `sigma`, if it is known whether the channels share it.

        Raises:
            NothingToRestore: there is no `sigma`, and no noise was found.
            RestoreError: `sigma` or `grain` is out of range.
        """
        grain = _share(grain)
        if noise is not None:
            return _posed(image, noise, grain, "")
        sample = image.read(image.middle(SAMPLE))
        found = measure_noise(sample)
        if sigma is not None:
            found = PhotoNoise(_deviations(sigma), found.shared or is_grey(sample))
        if not any(found.sigmas):
            raise NothingToRestore("no noise found in the pixels; give sigma to denoise it anyway")
        return _posed(image, _level(found), grain, _remark(found, given=sigma is not None))


def _posed(image: BandImage, noise: NoiseLevel, grain: float, remark: str) -> BandProblem:
    return (_SharedNoise if noise.shared else _IndependentNoise)(image, noise.sigma, grain, remark)


def _level(noise: PhotoNoise) -> NoiseLevel:
    """The level to evaluate at: the root mean square over the channels."""
    level = math.sqrt(sum(sigma**2 for sigma in noise.sigmas) / 3)
    return NoiseLevel(SHARED * level, True) if noise.shared else NoiseLevel(level)


def _remark(noise: PhotoNoise, given: bool) -> str:
    """What the command says about the noise."""
    kind = "given noise" if given else "noise of the luma" if noise.shared else "coarse noise" if noise.coarse else "noise"
    steps = list(dict.fromkeys(f"{sigma * HALF_RANGE:.2g}" for sigma in noise.sigmas))
    channels = " in red, green and blue" if len(steps) > 1 else ""
    return f"{kind} of standard deviation {', '.join(steps)} of 255{channels}"


def _deviations(sigma: Any) -> tuple[float, float, float]:
    """The standard deviation in each channel, for images in [-1, 1].

    Raises:
        RestoreError: it is not one number or three, above 0 and at most 255.
    """
    several = sigma if isinstance(sigma, Sequence) and not isinstance(sigma, str) else [sigma] * 3
    values = [real("sigma", value) for value in several]
    if len(values) != 3 or not all(0 < value <= 255 for value in values):
        raise RestoreError(f"sigma={sigma}: give a standard deviation above 0, at most 255, or one for each channel")
    red, green, blue = (value / HALF_RANGE for value in values)
    return red, green, blue


def _share(grain: Any) -> float:
    share = real("grain", grain)
    if not 0 <= share <= 1:
        raise RestoreError(f"grain={grain}: give the share of the noise to keep, 0 to 1")
    return share


class _IndependentNoise(BandProblem):
    """Denoising a picture whose channels have independent noise."""

    def __init__(self, image: BandImage, level: float, grain: float, remark: str) -> None:
        super().__init__(image, t0=level, case="independent", remark=remark)
        self._operator: Operator = White(grain)

    def operator(self, rows: slice) -> Operator:
        return self._operator

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        return self._operator.fit(x, self.image.read(rows, columns))


class _SharedNoise(_IndependentNoise):
    """Denoising a picture whose channels share their noise."""

    def __init__(self, image: BandImage, level: float, grain: float, remark: str) -> None:
        super().__init__(image, level, grain, remark)
        self.case, self._operator = "shared", LumaNoisy(grain)

    def estimate(self, rows: slice) -> Tensor:
        x = self.image.read(rows)
        noise = torch.stack([_row_of_noise(row, x.shape[3]) for row in range(rows.start, rows.stop)], 1)
        return x + self.t0 * chroma(noise[None].to(x))


def _row_of_noise(row: int, width: int) -> Tensor:
    """Noise (3, width) that depends only on the row, not on the band."""
    return torch.randn(3, width, generator=torch.Generator().manual_seed(row))
