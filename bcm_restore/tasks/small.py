"""What is wrong with a small picture besides its size: it is restored first, where an evaluation costs little."""

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
from ..operators import Noisy, Operator, estimate_noise
from ..operators.dct import HALF_RANGE
from ..schemes import Scheme
from .arrays import AnyImage
from .band_task import BandTask
from .base import Task
from .jpeg import Jpeg

NFE = 2  # evaluations of a small JPEG: with 4 the enlarged picture gains 0.05 dB more


class Denoising(BandTask):
    """The estimate is the noisy picture; what is left of it is the posterior mean, in one evaluation."""

    name = "denoise"
    summary = "takes noise of a known level out of a picture"

    def pose(self, image: BandImage, *, sigma: float = 0.0, **inputs: Any) -> BandProblem:
        """The problem of a picture with noise of that level."""
        return _Denoised(image, sigma)

    def default(self, nfe: int, model: BCM, case: str) -> Scheme:
        """One evaluation, whatever the NFE."""
        return schemes.parse("mean" if model.diagonal else "to 0")


class _Denoised(BandProblem):
    """A noisy picture."""

    def __init__(self, image: BandImage, sigma: float) -> None:
        super().__init__(image, t0=sigma)

    def operator(self, rows: slice) -> Operator:
        return Noisy(torch.tensor([self.t0]))


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a small picture.

    Attributes:
        task, inputs: what restores it.
        remark: what was found.
        sigma: of its noise, on the scale of [-1, 1]; 0: that is not it.
    """

    task: Task
    inputs: Mapping[str, Any]
    remark: str
    sigma: float = 0.0

    def restored(self, image: AnyImage, model: BCM, label: Label | None = None) -> Any:
        """The small picture without it; of 8-bit arrays with 16 bits."""
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = image.astype(np.uint16) * 257
        return self.task.run(image, nfe=NFE, model=model, label=label, **self.inputs).image


def flaw(image: Tensor, noise: float | None, coefficients: Any) -> Flaw | None:
    """What is wrong with a small picture (1, 3, h, w); None: nothing that is known.

    Args:
        image: in [-1, 1].
        noise: its standard deviation in 8-bit steps; None: estimated, unless it is a JPEG.
        coefficients: if it is a JPEG, its own.

    Raises:
        RestoreError: that is no standard deviation.
    """
    if noise is not None and not (math.isfinite(noise) and 0 <= noise <= 255):
        raise RestoreError(f"noise {noise}: give its standard deviation in 8-bit steps, 0 (none) to 255")
    if not noise and coefficients is not None and _is_known(coefficients):
        return Flaw(Jpeg(), {"coefficients": coefficients}, "a JPEG, restored as such first")
    sigma = estimate_noise(image) if noise is None else noise / HALF_RANGE
    if not sigma:
        return None
    found = "noise" if noise is None else "given noise"
    remark = f"{found} of standard deviation {sigma * HALF_RANGE:.2g} of 255, taken out first"
    return Flaw(Denoising(), {"sigma": sigma}, remark, sigma)


def _is_known(coefficients: Any) -> bool:
    """Whether it is a JPEG that can be restored as such; of the rest the pixels are taken."""
    try:
        JpegOperator(coefficients)
    except RestoreError:
        return False
    return True
