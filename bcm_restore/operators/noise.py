"""Operators for noisy measurements, which keep noise out of `fit`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .base import Operator
from .linear import along, square

WINDOW = 5  # pixels: side of the neighbourhood over which the squared residual is averaged


class Noisy(Operator):
    """A x = x; y is x plus noise of standard deviation sigma.

    The residual r = y - x is partly noise, and Wiener's filter keeps the rest: with the mean square `<r^2>` over
    the window around a pixel,

        fit(x, y) = x + max(0, 1 - sigma^2 / <r^2>) r

    so that x is unchanged where it differs from y by no more than the noise.

    Args:
        sigma: (B or 1,), for images in [-1, 1].
    """

    def __init__(self, sigma: Tensor) -> None:
        self.sigma = sigma

    def A(self, x: Tensor) -> Tensor:
        """The image itself: operators do not include noise."""
        return x

    def pinv(self, y: Tensor) -> Tensor:
        """The measurement itself."""
        return y

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """`x + max(0, 1 - sigma^2 / <r^2>) r`."""
        r = y - x
        edge = WINDOW // 2
        square = F.pad(r.square().mean(1, keepdim=True), (edge,) * 4, mode="replicate")
        power = F.avg_pool2d(square, WINDOW, 1).clamp(min=1e-12)
        return (1 - self.sigma.to(x).view(-1, 1, 1, 1) ** 2 / power).clamp(min=0) * r + x


class LumaNoisy(Operator):
    """A x = x; y has the same noise in all channels, so that only its luma is noisy.

        fit(x, y) = x + C (y - x), where C subtracts the mean over the channels

    The result has the chroma of y.
    """

    def A(self, x: Tensor) -> Tensor:
        """The image itself: operators do not include noise."""
        return x

    def pinv(self, y: Tensor) -> Tensor:
        """The measurement itself."""
        return y

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + C (y - x)."""
        return x + chroma(y - x)


class Relaxed(Operator):
    """An operator whose `fit` leaves a residual of the size of the noise.

        fit(x, y) = x + max(0, 1 - e / |y - A x|) (fit_0(x, y) - x)

    For a linear A the residual |y - A x| becomes e, or stays if it is smaller. The noise is amplified as `fit_0`
    amplifies it: for an ill-conditioned A, `fit_0` itself must be regularised, as that of `Linear` is.

    Args:
        operator: with measurements (B, ...), and with `fit_0`.
        noise: (B or 1,), norm of the noise in each measurement.
    """

    def __init__(self, operator: Operator, noise: Tensor) -> None:
        self.operator, self.noise = operator, noise

    def A(self, x: Tensor) -> Tensor:
        """The operator's."""
        return self.operator.A(x)

    def pinv(self, y: Tensor) -> Tensor:
        """The operator's."""
        return self.operator.pinv(y)

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + max(0, 1 - e / |y - A x|) (fit_0(x, y) - x)."""
        size = square(y - self.A(x)).sqrt().clamp(min=1e-12)
        return x + along((1 - self.noise.to(x) / size).clamp(min=0), self.operator.fit(x, y) - x)


def chroma(x: Tensor) -> Tensor:
    """C x = x minus its mean over the channels, (B, 3, H, W)."""
    return x - x.mean(1, keepdim=True)
