"""A composition of two operators: a small JPEG is quantised after downscaling."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .base import Operator


class Chain(Operator):
    """A x = A2(A1(x)): `second` is applied to the result of `first`.

        fit(x, y) = fit1(x, fit2(A1 x, y))

    First A1 x is made consistent with y, then x with A1 x: A(fit(x, y)) = y if both operators have this property.

        >>> import torch
        >>> from bcm_restore.operators import Mask, Resize
        >>> chain = Chain(Resize((8, 8), scale=2), Mask(torch.eye(4, dtype=torch.bool)[None, None]))
        >>> x, y = torch.rand(1, 3, 8, 8), chain.A(torch.rand(1, 3, 8, 8))
        >>> torch.allclose(chain.A(chain.fit(x, y)), y, atol=1e-5)
        True

    Args:
        first: an operator whose measurements are images (B, 3, h, w).
        second: an operator on these images.
    """

    def __init__(self, first: Operator, second: Operator) -> None:
        self.first, self.second = first, second

    def A(self, x: Tensor) -> Any:
        """A2(A1(x))."""
        return self.second.A(self.first.A(x))

    def pinv(self, y: Any) -> Tensor:
        """A1^+ A2^+ y."""
        return self.first.pinv(self.second.pinv(y))

    def fit(self, x: Tensor, y: Any) -> Tensor:
        """fit1(x, fit2(A1 x, y))."""
        return self.first.fit(x, self.second.fit(self.first.A(x), y))
