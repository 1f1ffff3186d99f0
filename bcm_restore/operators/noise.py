"""Operators for noisy measurements, which keep noise out of `fit`."""

from __future__ import annotations

from abc import abstractmethod

import torch.nn.functional as F
from torch import Tensor

from .base import Operator
from .linear import along, square
from .local_range import clamp_to_surroundings

REACH = 4  # pixels: in white noise, their range is some five times its standard deviation
WINDOW = 5  # pixels: side of the neighbourhood over which the squared residual is averaged


class _Noisy(Operator):
    """A x = x; y is x plus noise. The residual r = y - x holds a part S r of the image; the rest of it is noise.

        fit(x, y) = x + S r + grain (r - S r)

    Args:
        grain: 0 to 1, the share of the noise that stays in the image.
    """

    def __init__(self, grain: float = 0.0) -> None:
        self.grain = grain

    def A(self, x: Tensor) -> Tensor:
        """The image itself: operators do not include noise."""
        return x

    def pinv(self, y: Tensor) -> Tensor:
        """The measurement itself."""
        return y

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + S r + grain (r - S r)."""
        clear = self.clear(x, y)
        return clear if self.grain == 0 else clear.lerp(y, self.grain)

    def clear(self, x: Tensor, y: Tensor) -> Tensor:
        """x + S r: `fit` without grain."""
        return x + self.image_part(y - x)

    @abstractmethod
    def image_part(self, r: Tensor) -> Tensor:
        """S r, (B, 3, H, W)."""


class _Denoised(_Noisy):
    """x + S r is clamped to the surroundings of y within REACH pixels, so that flat areas stay flat."""

    def clear(self, x: Tensor, y: Tensor) -> Tensor:
        """x + S r, clamped."""
        return clamp_to_surroundings(super().clear(x, y), y, y, 1, REACH)


class White(_Denoised):
    """Noise that is independent between pixels and channels, all of it in the residual: S r = 0."""

    def image_part(self, r: Tensor) -> Tensor:
        """Zero."""
        return r.new_zeros(()).expand_as(r)


class Noisy(_Noisy):
    """White noise of standard deviation sigma, of which Wiener's filter tells the image in the residual.

    With the mean square `<r^2>` over the channels and the window around a pixel,

        S r = max(0, 1 - sigma^2 / <r^2>) r

    so that `fit` does not change x where it differs from y by no more than the noise.

    Args:
        sigma: (B or 1,), for images in [-1, 1].
        grain: see `_Noisy`.
    """

    def __init__(self, sigma: Tensor, grain: float = 0.0) -> None:
        super().__init__(grain)
        self.sigma = sigma

    def image_part(self, r: Tensor) -> Tensor:
        """`max(0, 1 - sigma^2 / <r^2>) r`."""
        edge = WINDOW // 2
        square = F.pad(r.square().mean(1, keepdim=True), (edge,) * 4, mode="replicate")
        power = F.avg_pool2d(square, WINDOW, 1).clamp(min=1e-12)
        return (1 - self.sigma.to(r).view(-1, 1, 1, 1) ** 2 / power).clamp(min=0) * r


class LumaNoisy(_Denoised):
    """All channels have the same noise, so that only the luma is noisy: S r = C r, the residual's chroma.

    `fit` restores the chroma of y.
    """

    def image_part(self, r: Tensor) -> Tensor:
        """C r."""
        return chroma(r)


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
