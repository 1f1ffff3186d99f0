"""JPEG compression on a shifted block grid: the image was cropped, rotated or framed since."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .base import Operator
from .jpeg import Jpeg
from .local_range import clamp_to_surroundings


class JpegPart(Operator):
    """A x = B(x[rows, columns]) with a `Jpeg` B: the cut blocks around it are unknown, and `fit` keeps them.

    Args:
        jpeg: B.
        size: (H, W) of the image.
        rows, columns: of the whole blocks.

    `y` and `surroundings` are as in `Jpeg`; `surroundings` covers the whole image.
    """

    def __init__(self, jpeg: Jpeg, size: tuple[int, int], rows: slice, columns: slice) -> None:
        self.jpeg, self.size, self.rows, self.columns = jpeg, size, rows, columns
        self.y = jpeg.y
        self.surroundings: tuple[Tensor, Tensor] | None = None

    def A(self, x: Tensor) -> tuple[Tensor, ...]:
        """The quantised coefficients of the whole blocks."""
        return self.jpeg.A(x[:, :, self.rows, self.columns])

    def pinv(self, y: Any) -> Tensor:
        """The decoded blocks, with grey around them."""
        part = self.jpeg.pinv(y)
        x = part.new_zeros(*part.shape[:2], *self.size)
        x[:, :, self.rows, self.columns] = part
        return x

    def fit(self, x: Tensor, y: Any) -> Tensor:
        """See `Jpeg.fit`."""
        return self.fit_denoised(x, y, 0.0)

    def fit_denoised(self, x: Tensor, y: Any, error: float) -> Tensor:
        """See `Jpeg.fit_denoised`."""
        fitted = x.clone() if self.surroundings is None else clamp_to_surroundings(x, *self.surroundings, cell=8)
        part = fitted[:, :, self.rows, self.columns]
        fitted[:, :, self.rows, self.columns] = self.jpeg.fit_denoised(part, y, error)
        return fitted

    def level(self) -> float:
        """See `Jpeg.level`."""
        return self.jpeg.level()
