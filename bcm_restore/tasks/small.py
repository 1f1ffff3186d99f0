"""Flaws of a small picture besides its size; they are removed before enlarging, where an evaluation is cheap."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import schemes
from ..errors import RestoreError
from ..large import BandImage, BandProblem
from ..model import BCM, Label
from ..operators import Jpeg as JpegOperator
from ..operators import LumaNoisy, NoiseLevel, Noisy, Operator, estimate_noise, known_noise
from ..operators.dct import HALF_RANGE
from ..operators.jpeg_earlier import find_first
from ..operators.noise import chroma
from ..operators.noise_level import CLEAN
from ..schemes import Scheme
from .arguments import real
from .arrays import AnyImage
from .band_task import BandTask
from .base import Task
from .jpeg import Jpeg

NFE = 2  # for a small JPEG: with 4 the enlarged picture gains 0.05 dB more


class Denoising(BandTask):
    """The first estimate is the noisy picture; the result is its posterior mean, in one evaluation.

    Networks are trained for noise that is independent between channels. Shared noise is independent noise without its
    chroma part: that part is added, and `fit` restores the chroma afterwards.
    """

    name = "denoise"
    summary = "removes noise of a known level from a picture"

    def pose(self, image: BandImage, *, noise: NoiseLevel = CLEAN, **inputs: Any) -> BandProblem:
        """Poses the problem of denoising a picture with noise of that level."""
        return _SharedNoise(image, noise) if noise.shared else _IndependentNoise(image, noise)

    def default(self, nfe: int, model: BCM, case: str) -> Scheme:
        """A scheme of one evaluation, whatever the NFE."""
        return schemes.parse(("mean" if model.diagonal else "to 0") + ", fit" * (case == "shared"))


class _IndependentNoise(BandProblem):
    """Denoising a picture whose channels have independent noise."""

    def __init__(self, image: BandImage, noise: NoiseLevel) -> None:
        super().__init__(image, t0=noise.sigma)

    def operator(self, rows: slice) -> Operator:
        return Noisy(torch.tensor([self.t0]))


class _SharedNoise(BandProblem):
    """Denoising a picture whose channels share their noise."""

    def __init__(self, image: BandImage, noise: NoiseLevel) -> None:
        super().__init__(image, t0=noise.sigma, case="shared")

    def operator(self, rows: slice) -> Operator:
        return LumaNoisy()

    def estimate(self, rows: slice) -> Tensor:
        x = self.image.read(rows)
        noise = torch.stack([_row_of_noise(row, x.shape[3]) for row in range(rows.start, rows.stop)], 1)
        return x + self.t0 * chroma(noise[None].to(x))


def _row_of_noise(row: int, width: int) -> Tensor:
    """Noise (3, width) that depends only on the row, not on the band."""
    return torch.randn(3, width, generator=torch.Generator().manual_seed(row))


@dataclass(frozen=True)
class Flaw:
    """Damage of a small picture besides its size.

    Attributes:
        task, inputs: for removing it.
        remark: describes it.
        noise: its level, if it is noise.
    """

    task: Task
    inputs: Mapping[str, Any]
    remark: str
    noise: NoiseLevel = CLEAN

    def restored(self, image: AnyImage, model: BCM, label: Label | None = None) -> Any:
        """Removes it from the small picture; 8-bit arrays become 16-bit ones."""
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = image.astype(np.uint16) * 257
        return self.task.run(image, nfe=NFE, model=model, label=label, **self.inputs).image


def find_flaw(image: Tensor, noise: float | None, coefficients: Any) -> Flaw | None:
    """Detects the flaw of a small picture (1, 3, h, w); None: nothing was found.

    Args:
        image: in [-1, 1].
        noise: its standard deviation in 8-bit steps; 0: the picture is enlarged as it is; None: estimated, unless the
            picture is or was a JPEG.
        coefficients: of the picture, if it is a JPEG.

    Raises:
        RestoreError: the noise is not a standard deviation.
    """
    noise = None if noise is None else real("noise", noise)
    if noise is not None and not (math.isfinite(noise) and 0 <= noise <= 255):
        raise RestoreError(f"noise {noise}: give its standard deviation in 8-bit steps, 0 (none) to 255")
    if not noise and coefficients is not None and _is_supported(coefficients):
        return Flaw(Jpeg(), {"coefficients": coefficients}, "a JPEG, restored as such first")
    if noise == 0:
        return None
    if noise is None and (history := find_first(image.cpu())):
        return Flaw(Jpeg(), {"quality": history.quality}, f"a JPEG once ({history}), restored as such first")
    level = estimate_noise(image) if noise is None else known_noise(image, noise / HALF_RANGE)
    if not level.sigma:
        return None
    found = "noise" if noise is None else "given noise"
    remark = f"{found} of standard deviation {level.per_channel * HALF_RANGE:.2g} of 255, removed first"
    return Flaw(Denoising(), {"noise": level}, remark, level)


def _is_supported(coefficients: Any) -> bool:
    """Whether the JPEG can be restored from its coefficients; otherwise only its pixels are used."""
    try:
        JpegOperator(coefficients)
    except RestoreError:
        return False
    return True
