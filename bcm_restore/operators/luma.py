"""The operator of colorization: the luma of an RGB image."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Operator

WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as in JPEG


class Luma(Operator):
    """A x = 0.299 R + 0.587 G + 0.114 B, (B, 1, H, W).

    Of the right inverses of A, `pinv` is the one that gives grey: all channels are y, and A(pinv(y)) = y. (The
    pseudo-inverse would tint grey.) `fit` keeps the chroma c = x - A x of each pixel, as far as the range allows:

        fit(x, y) = y + s c, with the greatest s <= 1 for which y + s c is in [-1, 1]

    so that A(fit(x, y)) = y for all y in [-1, 1], also after the result is clipped to that range.

        >>> import torch
        >>> red, grey = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1), torch.zeros(1, 1, 1, 1)
        >>> Luma().fit(red, grey).flatten()
        tensor([ 1.0000, -0.4265, -0.4265])
    """

    def A(self, x: Tensor) -> Tensor:
        """0.299 R + 0.587 G + 0.114 B."""
        red, green, blue = x.split(1, 1)
        # relative to green, so that grey stays grey without rounding errors
        return green + WEIGHTS[0] * (red - green) + WEIGHTS[2] * (blue - green)

    def pinv(self, y: Tensor) -> Tensor:
        """Grey: (y, y, y)."""
        return y.expand(-1, 3, -1, -1).contiguous()

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """y + s c; see the class."""
        c = x - self.A(x)
        space = torch.where(c > 0, 1 - y, 1 + y).clamp(min=0)
        s = torch.where(c.abs() > space, space / c.abs(), 1.0).amin(1, keepdim=True)
        return y + s * c
