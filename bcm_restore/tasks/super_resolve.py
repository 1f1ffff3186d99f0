"""Super-resolution: a larger picture that gives the small one back when it is scaled down again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .. import rasters
from ..errors import RestoreError
from ..giants import Giant
from ..operators import Operator, Resize
from ..operators.local_range import clamp_to_surroundings
from ..operators.resize import REACH
from ..rasters import Raster, bands, widened
from .arguments import whole
from .arrays import to_tensor
from .base import Problem, Task

SCALES = (2, 3, 4, 8)


class Enlargement(Resize):
    """Scaling down whose `fit` keeps flat areas flat: x goes no further than the small pixels around allow."""

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """`Resize.fit`, after clamping x to its surroundings in y."""
        return super().fit(clamp_to_surroundings(x, y, y, self.image_size[0] // self.size[0]), y)


class SuperResolve(Task):
    """The operator is antialiased scaling down, as Pillow does it; the first estimate is exact under it."""

    name = "super-resolve"
    summary = "enlarges a picture 2, 3, 4 or 8 times"

    def problem(self, image: Tensor, *, scale: int = 4, kernel: str = "bicubic", **inputs: Any) -> Problem:
        """The problem of enlarging a picture.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            scale: how many times: 2, 3, 4 or 8.
            kernel: what made it small: a filter of `bcm_restore.operators.Resize`, "box" for the means of pixels.

        Raises:
            RestoreError: the scale or the kernel is another one.
        """
        operator = _operator(image.shape[2:], whole("scale", scale), kernel)
        return Problem(operator, image, _estimate(operator, image), case=f"x{scale}")

    def giant(self, image: np.ndarray, *, scale: int = 4, kernel: str = "bicubic", **inputs: Any) -> Giant | None:
        """See `Task.giant` and `problem`."""
        scale = whole("scale", scale)
        if image.shape[0] * image.shape[1] * scale**2 <= rasters.LARGE:
            return None
        return _Giant(image, scale, _operator(image.shape, scale, kernel))


class _Giant(Giant):
    """Enlarging (h, w[, 3]) pixels."""

    def __init__(self, image: np.ndarray, scale: int, operator: Resize) -> None:
        super().__init__(operator.image_size, case=f"x{scale}")
        self._image, self._scale, self._operator = image, scale, operator
        self.unit, self.reach = scale, REACH * scale

    def begin(self, x: Raster) -> None:
        for rows in bands(self.size, self.unit):
            outer, inner = widened(rows, self.reach, self.size[0])
            operator = self.operator(outer)
            x.write(_estimate(operator, self.measured(outer, operator).to(x.device))[:, :, inner], rows)

    def operator(self, rows: slice) -> Resize:
        return self._operator.crop(rows)

    def measured(self, rows: slice, operator: Operator) -> Tensor:
        return to_tensor(self._image[rows.start // self._scale : rows.stop // self._scale])[0]


def _operator(size: Sequence[int], scale: int, kernel: str) -> Enlargement:
    if scale not in SCALES:
        raise RestoreError(f"scale {scale} has no schemes; use {', '.join(map(str, SCALES))}")
    return Enlargement((size[0] * scale, size[1] * scale), scale=scale, filter=kernel)


def _estimate(operator: Resize, y: Tensor) -> Tensor:
    return operator.fit(operator.upscale(y), y)
