"""Linear operators with an adjoint, such as deepinv's physics: data consistency by conjugate gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import Operator

TOLERANCE = 1e-4  # residual |y - A x| / |y|, and |A^T (y - A x)| relative to its first value
ITERATIONS = 50  # at most


class Linear(Operator):
    """A linear operator of which only A and its adjoint are needed.

    `fit` starts the conjugate gradient method for least squares (CGLS, Bjorck 1996, algorithm 7.4.1) at x. All its
    steps are in the range of A^T, so that it converges to the projection x + A^+ (y - A x). With noise of norm e in
    the measurements, it stops where |y - A x| = e (Morozov's discrepancy principle): what is left is taken for noise,
    and x is unchanged if it differs from y by no more than that.

    The range of the images is the caller's.

        >>> import torch
        >>> class Halves:
        ...     def A(self, x): return x / 2
        ...     def A_adjoint(self, y): return y / 2
        >>> Linear(Halves()).fit(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)).flatten()
        tensor([2., 2., 2.])

    Args:
        physics: with `A(x)` and `A_adjoint(y)`, such as deepinv's `LinearPhysics`.
        noise: (B or 1,), norm of the noise in each measurement; None: none.
    """

    def __init__(self, physics: Any, noise: Tensor | None = None) -> None:
        self.physics, self.noise = physics, noise

    def A(self, x: Tensor) -> Tensor:
        """`physics.A(x)`."""
        return self.physics.A(x)

    def pinv(self, y: Tensor) -> Tensor:
        """A^+ y: `fit`, started at zero."""
        return self.fit(torch.zeros_like(self.physics.A_adjoint(y)), y)

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + A^+ (y - A x), or up to the noise; see the class."""
        noise = y.new_zeros(1, dtype=x.dtype) if self.noise is None else self.noise.to(x)
        r = y - self.physics.A(x)
        p = s = self.physics.A_adjoint(r)
        gamma, least = square(s), TOLERANCE**2 * square(s)
        enough = torch.maximum(noise**2, TOLERANCE**2 * square(y))
        for _ in range(ITERATIONS):
            running = (square(r) > enough) & (gamma > least)
            if not running.any():
                break
            q = self.physics.A(p)
            step = torch.where(running, _step(gamma, square(q), square(r), noise**2), 0.0)
            x, r = x + along(step, p), r - along(step, q)
            s = self.physics.A_adjoint(r)
            gamma, before = square(s), gamma
            p = s + along(torch.where(running, gamma / before, 0.0), p)
        return x


def _step(gamma: Tensor, q: Tensor, r: Tensor, noise: Tensor) -> Tensor:
    """The step of CGLS, shortened to end where |r - step q|^2 is that of the noise; all arguments are squares (B,)."""
    beyond = gamma**2 - q * (r - noise)  # the quadratic's discriminant; <q, r> = gamma
    return (gamma - beyond.clamp(min=0).sqrt()) / q


def square(z: Tensor) -> Tensor:
    """The squared norm of each item of a batch, real or complex: (B,)."""
    return z.abs().square().flatten(1).sum(1)


def along(factors: Tensor, z: Tensor) -> Tensor:
    """The items of a batch, each times its factor (B,)."""
    return factors.view(-1, *(1,) * (z.ndim - 1)) * z
