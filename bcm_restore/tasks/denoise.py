"""Denoising: the posterior mean of a noisy picture."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import NothingToRestore, RestoreError
from ..large import BandImage, BandProblem
from ..operators import LumaNoisy, NoiseLevel, Operator, White, given_noise, measure_noise
from ..operators.dct import HALF_RANGE
from ..operators.noise import REACH, chroma
from ..spans import widened
from ..task_inputs import Input
from .arguments import real
from .arrays import as_array
from .band_task import BandTask
from .base import Problem, Restoration, RunOptions
from .folding import FoldedImage, unfolded, unfolded_array

SAMPLE = 1 << 22  # pixels of a large picture in which the noise is measured
COARSE = 1.05  # level at which coarse noise is removed, as a multiple of the measured one


class Denoise(BandTask):
    """The first estimate is the noisy picture; the result is its posterior mean.

    Networks are trained for noise that is independent between channels. Shared noise is independent noise without its
    chroma part: that part is added, and `fit` restores the chroma afterwards. Coarse noise is white in a folded image.
    `fit` also keeps the grain.
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
        sigma: float | list[float] | tuple[float, ...] | None = None,
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
        check(sigma, grain)
        if noise is not None:
            return _posed(image, noise, float(grain), "")
        sample = image.read(image.middle(SAMPLE))
        found = measure_noise(sample) if sigma is None else given_noise(sample, _deviations(sigma))
        if not any(found.sigmas):
            raise NothingToRestore("no noise found in the pixels; give sigma to denoise it anyway")
        remark = _remark(found, given=sigma is not None)
        if found.coarse:
            return _CoarseNoise(image, COARSE * found.sigmas[0], float(grain), remark)
        return _posed(image, found, float(grain), remark)

    def united(self, x: Tensor, problem: Problem) -> Tensor:
        """See `Task.united`: unfolds the image."""
        return unfolded(x) if problem.case == "coarse" else x

    def restore_large(self, image: Any, inputs: Mapping[str, Any], options: RunOptions) -> Restoration | None:
        """See `Task.restore_large`."""
        result = super().restore_large(image, inputs, options)
        if result and result.case == "coarse":
            array, from_array = as_array(result.image)
            result.image = from_array(unfolded_array(array))
        return result


def _posed(image: BandImage, noise: NoiseLevel, grain: float, remark: str) -> BandProblem:
    return (_SharedNoise if noise.shared else _IndependentNoise)(image, noise.sigma, grain, remark)


def _remark(noise: NoiseLevel, given: bool) -> str:
    """What the command says about the noise."""
    kind = (
        "given noise" if given else "noise of the luma" if noise.shared else "coarse noise" if noise.coarse else "noise"
    )
    steps = list(dict.fromkeys(eight_bit_steps(sigma) for sigma in noise.sigmas))
    channels = " in red, green and blue" if len(steps) > 1 else ""
    return f"{kind} of standard deviation {', '.join(steps)} of 255{channels}"


def eight_bit_steps(sigma: float) -> str:
    """A standard deviation for images in [-1, 1], as a text in 8-bit steps: two digits, or three from 100 on."""
    steps = sigma * HALF_RANGE
    return f"{steps:.2g}" if steps < 99.5 else f"{steps:.0f}"


def check(sigma: Any, grain: Any) -> None:
    """Checks the inputs of `Denoise.pose`.

    Raises:
        RestoreError: one of them is out of range.
    """
    if sigma is not None:
        _deviations(sigma)
    if not 0 <= real("grain", grain) <= 1:
        raise RestoreError(f"grain {grain}: give the share of the noise to keep, 0 to 1")


def _deviations(sigma: Any) -> tuple[float, float, float]:
    """The standard deviation in each channel, for images in [-1, 1], from one or three in 8-bit steps."""
    several = [real("sigma", value) for value in (sigma if isinstance(sigma, list | tuple) else [sigma] * 3)]
    if len(several) != 3 or not all(0 < value <= 255 for value in several):
        raise RestoreError(f"sigma {sigma}: give a standard deviation above 0, at most 255, or one for each channel")
    red, green, blue = (value / HALF_RANGE for value in several)
    return red, green, blue


class _IndependentNoise(BandProblem):
    """Denoising a picture whose channels have independent noise."""

    def __init__(self, image: BandImage, level: float, grain: float, remark: str) -> None:
        super().__init__(image, t0=level, case="independent", remark=remark)
        self._operator: Operator = White(grain)

    def operator(self, rows: slice) -> Operator:
        return self._operator

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        (outer_rows, inner_rows), (outer_columns, inner_columns) = (
            widened(span, REACH, length) for span, length in zip((rows, columns), self.size, strict=True)
        )
        y = self.image.read(outer_rows, outer_columns)
        edges = inner_columns.start, y.shape[3] - inner_columns.stop, inner_rows.start, y.shape[2] - inner_rows.stop
        return self._operator.fit(F.pad(x, edges), y)[:, :, inner_rows, inner_columns]


class _CoarseNoise(_IndependentNoise):
    """Denoising a picture whose noise is correlated between neighbours, folded."""

    def __init__(self, image: BandImage, level: float, grain: float, remark: str) -> None:
        super().__init__(FoldedImage(image), level, grain, remark)
        self.case = "coarse"


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
