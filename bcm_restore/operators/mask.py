"""The operator of inpainting: a mask of known pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import RestoreError
from .base import Operator


class Mask(Operator):
    """A x = m x with m = 1 at known pixels, else 0. Then A^+ = A and fit(x, y) = m y + (1 - m) x.

    Args:
        known: (B or 1, 1, H, W) bool, True where the pixel is known.
        limits: the least and the greatest value of unknown pixels after `fit`, (B or 1, 3, 1, 1) each; None: no limits.

    y has the shape of x, (B, 3, H, W); its unknown pixels are ignored.

        >>> import torch
        >>> operator = Mask(torch.tensor([[[[True, False]]]]))
        >>> operator.fit(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2))[0, 0]
        tensor([[1., 0.]])

    Raises RestoreError for a mask of another shape or dtype, or an image of another size.
    """

    def __init__(self, known: Tensor, limits: tuple[Tensor, Tensor] | None = None) -> None:
        if known.ndim != 4 or known.shape[1] != 1 or known.dtype != torch.bool:
            raise RestoreError(
                f"a mask is bool of shape (B or 1, 1, H, W), not {known.dtype} {tuple(known.shape)}: add the axes"
            )
        self.known, self.limits = known, limits

    def crop(self, rows: slice, columns: slice = slice(None)) -> Mask:
        """The operator for a part of the image."""
        return type(self)(self.known[:, :, rows, columns], self.limits)

    def A(self, x: Tensor) -> Tensor:
        """The known pixels; the unknown ones are zero."""
        return torch.where(self._known_for(x), x, 0)

    def pinv(self, y: Tensor) -> Tensor:
        """A y: A is its own pseudo-inverse."""
        return self.A(y)

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """Takes known pixels from y and the rest from x, clamped to `limits` if given; otherwise bit for bit."""
        if self.limits is not None:
            low, high = self.limits
            x = x.clamp(low.to(x), high.to(x))
        return torch.where(self._known_for(x), y, x)

    def _known_for(self, x: Tensor) -> Tensor:
        batch, _, height, width = self.known.shape
        if x.ndim != 4 or tuple(x.shape[2:]) != (height, width) or batch not in (1, x.shape[0]):
            raise RestoreError(
                f"mask of {batch} x {width} x {height} on images {tuple(x.shape)}: resize the mask to the image"
            )
        if self.known.device != x.device:
            self.known = self.known.to(x.device)  # once: later calls use the same device
        return self.known
