"""Operators for images in [0, 1], in any number of channels, inside schemes, whose images are RGB in [-1, 1]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import Operator


class UnitRange(Operator):
    """An operator that is defined for images u in [0, 1], applied to x = 2 u - 1.

        A(x) = A_u(u), pinv(y) = 2 pinv_u(y) - 1, fit(x, y) = 2 fit_u(u, y) - 1

    The measurements y are those of u: they are neither shifted nor scaled. An operator for grey images receives the
    mean of the channels, and what it returns is repeated in all three.

        >>> import torch
        >>> from bcm_restore.operators import Mask
        >>> operator = UnitRange(Mask(torch.tensor([[[[True, False]]]])))
        >>> operator.A(torch.zeros(1, 3, 1, 2))[0, 0]
        tensor([[0.5000, 0.0000]])

    Args:
        operator: for images (B, `channels`, H, W) in [0, 1].
        channels: 1 or 3.
        device: where the operator works; images are moved there and back.
    """

    def __init__(self, operator: Operator, channels: int = 3, device: torch.device | str | None = None) -> None:
        self.operator, self.channels, self.device = operator, channels, device

    def A(self, x: Tensor) -> Any:
        """A_u(u)."""
        return self.operator.A(self.unit(x))

    def pinv(self, y: Any) -> Tensor:
        """2 pinv_u(y) - 1."""
        return self.centred(self.operator.pinv(y))

    def fit(self, x: Tensor, y: Any) -> Tensor:
        """2 fit_u(u, y) - 1."""
        return self.centred(self.operator.fit(self.unit(x), y)).to(x)

    def unit(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, channels, H, W) in [0, 1]."""
        u = (x.to(self.device) + 1) / 2
        return u.mean(1, keepdim=True) if self.channels == 1 else u

    def centred(self, u: Tensor) -> Tensor:
        """(B, channels, H, W) in [0, 1] to (B, 3, H, W) in [-1, 1]."""
        return (2 * u - 1).expand(-1, 3, -1, -1).contiguous()
