"""The operator of deblurring: convolution with a kernel, where nothing is known outside the frame."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Operator, check_image
from .dct import HALF_RANGE
from .kernels import normalised

ROUNDING = 12**-0.5 / HALF_RANGE  # standard deviation of the rounding to 8 bits
LEAST = 0.4 / HALF_RANGE  # noise that is always expected: with less, `fit` after `fit` amplifies the rounding
ERROR = 0.2  # standard deviation of the error that `fit` expects in x
GRADIENT = 0.1  # standard deviation of the differences between neighbouring pixels that `pinv` expects
SIDE = 256  # pixels: of the image for which errors are predicted
TINY = 1e-30  # avoids division by zero
STEPS = 16  # of conjugate gradients
OUTSIDE = 0.1  # weight of x there; with 1, wrong guesses cost up to 2 dB inside the frame


class Blur(Operator):
    """A x = k * x, with a kernel k and replicated edges, as deepinv's `Blur(filter=k, padding="replicate")`.

    In a photograph, pixels near the frame also depend on what lies outside. So inverses estimate a larger canvas z, of
    which y measures the frame (C crops z to it) after the convolution K:

        pinv(y)   = C argmin_z |y - C K z|^2 / sigma^2 + |grad z|^2 / GRADIENT^2
        fit(x, y) = C argmin_z |y - C K z|^2 / sigma^2 + |z - x|^2 / error^2, with x extended by its edges, and
                    the last term times OUTSIDE outside the frame, where this x is only a guess

    Without C both are divisions in Fourier space, conj(K) y / (|K|^2 + r) with r = (sigma / error)^2: frequencies are
    trusted as far as they exceed the noise. With C these divisions precondition a few steps of conjugate gradients
    (R. Chan and M. Ng, Conjugate gradient methods for Toeplitz systems, SIAM Review 1996).

        >>> import torch
        >>> blur, x = Blur(torch.ones(1, 3), (4, 6)), torch.rand(1, 3, 4, 6)
        >>> torch.allclose(blur.A(x)[..., 1:-1], (x[..., :-2] + x[..., 1:-1] + x[..., 2:]) / 3, atol=1e-5)
        True

    Args:
        kernel: (h, w), not negative; it is normalised. Its centre is h // 2, w // 2.
        size: (H, W) of the image.
        sigma: standard deviation of the noise in y, for images in [-1, 1]; at least LEAST is expected.
        error: that of the error of the x given to `fit`.
    """

    def __init__(self, kernel: Tensor, size: tuple[int, int], sigma: float = 0.0, error: float = ERROR) -> None:
        self.kernel, self.size, self.sigma, self.error = normalised(kernel), size, max(sigma, LEAST), error
        height, width = self.kernel.shape
        self._canvas = _smooth(size[0] + height - 1), _smooth(size[1] + width - 1)
        self._top, self._left = height // 2, width // 2
        spread = F.pad(self.kernel, (0, self._canvas[1] - width, 0, self._canvas[0] - height))
        self._transfer = torch.fft.rfft2(spread.roll((-self._top, -self._left), (0, 1)))
        self._gradients = _squared_gradients(self._canvas)

    def A(self, x: Tensor) -> Tensor:
        """The blurred image, (B, 3, H, W).

        Raises:
            RestoreError: the image has another size.
        """
        check_image(x, self.size)
        return self._crop(self._convolve(self._extend(x), self._transfer.to(x.device)))

    def pinv(self, y: Tensor) -> Tensor:
        """The smoothest image that explains y, up to the noise."""
        z, penalty = self._extend(y), self._gradients.to(y) * (self.sigma / GRADIENT) ** 2

        def smooth(z: Tensor) -> Tensor:
            return self._convolve(z, penalty)

        return self._crop(z + self._step(y, z, smooth, penalty, start=-smooth(z)))

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """The image nearest to x that explains y, up to the noise."""
        check_image(x, self.size)
        z, penalty = self._extend(x), x.new_tensor((self.sigma / self.error) ** 2)
        weight = penalty * (OUTSIDE + (1 - OUTSIDE) * self._embed(x.new_ones(1, 1, *self.size)))
        return self._crop(z + self._step(y, z, weight.mul, penalty))

    def _step(
        self, y: Tensor, z: Tensor, penalise: Callable[[Tensor], Tensor], spectrum: Tensor, start: Tensor | float = 0.0
    ) -> Tensor:
        """The step d from a canvas z that solves (K^T C^T C K + P) d = K^T C^T (y - C K z) + start.

        Args:
            y: the measurement.
            z: (B, 3, H', W').
            penalise: P, a matrix.
            spectrum: about P, in Fourier space, to precondition.
            start: added on the right-hand side.
        """
        transfer = self._transfer.to(z.device)

        def back(measured: Tensor) -> Tensor:
            return self._convolve(measured, transfer.conj())

        def normal(d: Tensor) -> Tensor:
            return back(self._mask(self._convolve(d, transfer))) + penalise(d)

        inverse = 1 / (transfer.abs().square() + spectrum)
        right = back(self._embed(y) - self._mask(self._convolve(z, transfer))) + start
        return conjugate_gradients(normal, right, lambda r: self._convolve(r, inverse), STEPS)

    def _convolve(self, z: Tensor, transfer: Tensor) -> Tensor:
        """The periodic convolution of a canvas, given the Fourier transform of its kernel."""
        return torch.fft.irfft2(torch.fft.rfft2(z) * transfer, s=self._canvas)

    def _extend(self, x: Tensor) -> Tensor:
        """The canvas of an image whose edges are replicated."""
        return F.pad(x, self._borders, mode="replicate")

    def _embed(self, y: Tensor) -> Tensor:
        """C^T y: zero outside the frame."""
        return F.pad(y, self._borders)

    def _crop(self, z: Tensor) -> Tensor:
        """C z."""
        return z[:, :, self._top : self._top + self.size[0], self._left : self._left + self.size[1]]

    def _mask(self, z: Tensor) -> Tensor:
        """C^T C z."""
        return self._embed(self._crop(z))

    @property
    def _borders(self) -> tuple[int, int, int, int]:
        """Left, right, upper and lower width of the canvas around the frame."""
        (height, width), (top, left) = self._canvas, (self._top, self._left)
        return left, width - left - self.size[1], top, height - top - self.size[0]


def expected_error(kernel: Tensor, sigma: float) -> float:
    """The standard deviation of the error of `pinv` for a picture with differences of GRADIENT, without a frame.

    It is the root of mean(1 / (|K|^2 / sigma^2 + |grad|^2 / GRADIENT^2)), of the posterior variance.
    """
    blur = Blur(kernel, (SIDE, SIDE), sigma)
    expected = blur._transfer.abs().square() / blur.sigma**2 + blur._gradients / GRADIENT**2
    return float((1 / expected).mean()) ** 0.5


def conjugate_gradients(
    matrix: Callable[[Tensor], Tensor], b: Tensor, precondition: Callable[[Tensor], Tensor], steps: int
) -> Tensor:
    """Solves matrix(x) = b for images (B, C, H, W), each on its own, from x = 0; the matrix is positive definite."""
    x, r = torch.zeros_like(b), b
    h = p = precondition(r)
    power = _inner(r, h)
    for _ in range(steps):
        q = matrix(p)
        size = power / _inner(p, q).clamp(min=TINY)
        x, r = x + size * p, r - size * q
        h = precondition(r)
        power, before = _inner(r, h), power
        p = h + power / before.clamp(min=TINY) * p
    return x


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def _squared_gradients(size: tuple[int, int]) -> Tensor:
    """|grad|^2 in Fourier space: 4 sin^2(pi u) + 4 sin^2(pi v), (H, W // 2 + 1)."""
    rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    return 4 * ((math.pi * rows).sin() ** 2 + (math.pi * columns).sin() ** 2)


def _smooth(length: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5, for which Fourier transforms are fast."""
    rest = length
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return length if rest == 1 else _smooth(length + 1)
