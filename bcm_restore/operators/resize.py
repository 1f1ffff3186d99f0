"""The operator of super-resolution: Pillow's resampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..errors import RestoreError
from .banded import Banded, Matrix
from .base import Operator, check_image


class Filter(NamedTuple):
    """A resampling kernel, zero beyond `support` on both sides."""

    support: float
    kernel: Callable[[Matrix], Matrix]


def _box(x: Matrix) -> Matrix:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _triangle(x: Matrix) -> Matrix:
    return np.maximum(0.0, 1 - np.abs(x))


def _cubic(x: Matrix, a: float = -0.5) -> Matrix:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: Matrix) -> Matrix:
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0.0)


FILTERS = {
    "box": Filter(0.5, _box),
    "bilinear": Filter(1, _triangle),
    "bicubic": Filter(2, _cubic),
    "lanczos": Filter(3, _lanczos),
}

REACH = 24  # rows of y; see `Resize.crop`


@lru_cache(maxsize=32)  # both axes of a square, and both directions, need the same few
def resampling(length: int, new_length: int, filter: str = "bicubic") -> Banded:
    """The matrix R of `Image.resize`, new_length x length: the kernel, widened for downscaling, cut at the borders.

    R[i, j] = k((j + 1/2 - c_i) / w) / (its sum over j),  c_i = (i + 1/2) s,  s = length / new_length,  w = max(s, 1)
    """
    support, kernel = FILTERS[filter]
    scale = length / new_length
    width = max(scale, 1.0)
    centre = (np.arange(new_length) + 0.5) * scale
    first = np.maximum(0, np.trunc(centre - support * width + 0.5)).astype(int)
    end = np.minimum(length, np.trunc(centre + support * width + 0.5)).astype(int)
    rows = np.repeat(np.arange(new_length), end - first)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
    values = kernel((columns + 0.5 - centre[rows]) / width)
    return Banded(rows, columns, values / np.bincount(rows, values)[rows], (new_length, length))


class Resize(Operator):
    """A x = R_h x R_w^T: resizes the image along the rows and along the columns.

    Args:
        image_size: (H, W) of the images x, (B, 3, H, W).
        scale: y is ceil(H / scale) x ceil(W / scale); or
        size: (h, w) of y, (B, 3, h, w).
        filter: "bicubic", "box", "bilinear" or "lanczos": Pillow's, with its antialiasing.

    A^+ y = R_h^+ y (R_w^+)^T is exact, without regularisation: the condition number of R is below 2.1 for scales of 2
    or more, and grows only as the scale approaches 1 (as the root of the length; 15 for 1000 to 999 pixels).

        >>> import torch
        >>> operator = Resize((8, 12), scale=4)
        >>> x, y = torch.rand(1, 3, 8, 12), torch.rand(1, 3, 2, 3)
        >>> torch.allclose(operator.A(operator.fit(x, y)), y, atol=1e-5)
        True

    Raises RestoreError for an unknown filter, an invalid size or scale, and images of another size.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        filter: str = "bicubic",
    ) -> None:
        if filter not in FILTERS:
            raise RestoreError(f"no resampling filter {filter!r}: choose one of {', '.join(FILTERS)}")
        if (scale is None) == (size is None):
            raise RestoreError("Resize needs the scale or the size of the result: give one of them")
        if size is None:
            if not (scale and scale > 0 and math.isfinite(scale)):
                raise RestoreError(f"scale {scale} is not a number above 0; give one, such as 4")
            size = math.ceil(image_size[0] / scale), math.ceil(image_size[1] / scale)
        if min(*image_size, *size) < 1:
            raise RestoreError(f"cannot resize {image_size} to {size}: sides are 1 pixel or more")
        self.image_size, self.size, self.filter = image_size, size, filter
        self._rows = resampling(image_size[0], size[0], filter)
        self._columns = resampling(image_size[1], size[1], filter)

    def crop(self, rows: slice) -> Resize:
        """The operator for a band of rows that begins and ends at rows of y.

        Rows at least `REACH` rows of y away from the cut are fitted as in the whole image, up to 1e-8 of the values'
        range.
        """
        first, last = (row * self.size[0] // self.image_size[0] for row in (rows.start, rows.stop))
        size = rows.stop - rows.start, self.image_size[1]
        return type(self)(size, size=(last - first, self.size[1]), filter=self.filter)

    def A(self, x: Tensor) -> Tensor:
        """R_h x R_w^T, the result of `Image.resize`."""
        check_image(x, self.image_size)
        return self._rows(self._columns(x.mT).mT)

    def pinv(self, y: Tensor) -> Tensor:
        """R_h^+ y (R_w^+)^T: the image of least mean square that A maps to y."""
        check_image(y, self.size)
        return self._rows.pinv(self._columns.pinv(y.mT).mT)

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + A^+ (y - A x)."""
        return self.pinv(self.A(x).neg_().add_(y)).add_(x)  # in place: x may be as large as memory allows

    def upscale(self, y: Tensor) -> Tensor:
        """Pillow's bicubic enlargement of y to the size of x: smoother than A^+ y, the usual first estimate."""
        check_image(y, self.size)
        (height, width), (new_height, new_width) = self.size, self.image_size
        return resampling(height, new_height)(resampling(width, new_width)(y.mT).mT)
