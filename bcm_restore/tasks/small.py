"""Flaws of a small picture besides its size; they are removed before enlarging, where an evaluation is cheap."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import RestoreError
from ..model import BCM, Label
from ..operators import Jpeg as JpegOperator
from ..operators import NoiseLevel, given_noise, measure_noise
from ..operators.dct import HALF_RANGE
from ..operators.jpeg_earlier import find_first
from ..operators.noise_level import CLEAN
from .arguments import real
from .arrays import AnyImage
from .base import Task
from .denoise import Denoise, eight_bit_steps
from .jpeg import Jpeg

JPEG_NFE = 2  # with 4 the enlarged picture gains 0.05 dB more


@dataclass(frozen=True)
class Flaw:
    """Damage of a small picture besides its size.

    Attributes:
        task, inputs: for removing it.
        remark: describes it.
        noise: its level, if it is noise.
        nfe: evaluations for removing it; None: the task's default.
    """

    task: Task
    inputs: Mapping[str, Any]
    remark: str
    noise: NoiseLevel = CLEAN
    nfe: int | None = None

    def restored(self, image: AnyImage, model: BCM, label: Label | None = None) -> Any:
        """Removes it from the small picture; 8-bit arrays become 16-bit ones."""
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = image.astype(np.uint16) * 257
        return self.task.run(image, nfe=self.nfe, model=model, label=label, **self.inputs).image


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
        return Flaw(Jpeg(), {"coefficients": coefficients}, "a JPEG, restored as such first", nfe=JPEG_NFE)
    if noise == 0:
        return None
    if noise is None and (history := find_first(image.cpu())):
        remark = f"a JPEG once ({history}), restored as such first"
        return Flaw(Jpeg(), {"input_quality": history.quality}, remark, nfe=JPEG_NFE)
    level = measure_noise(image) if noise is None else given_noise(image, (noise / HALF_RANGE,) * 3)
    if not level.sigma or level.coarse:  # scaling down makes coarse noise white
        return None
    found = "noise" if noise is None else "given noise"
    remark = f"{found} of standard deviation {eight_bit_steps(level.per_channel)} of 255, removed first"
    return Flaw(Denoise(), {"noise": level}, remark, level)


def _is_supported(coefficients: Any) -> bool:
    """Whether the JPEG can be restored from its coefficients; otherwise only its pixels are used."""
    try:
        JpegOperator(coefficients)
    except RestoreError:
        return False
    return True
