"""The interface of all operators: `A`, `pinv` and `fit`. Operators do not include noise."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..errors import RestoreError


class Operator(ABC):
    """A degradation operator y = A(x), without noise.

    Images x are (B, 3, H, W) floats in [-1, 1]; the shape of y depends on the operator. The operator's data (a mask,
    matrices, tables) follow the device and dtype of the input.

    Example, a degradation that halves the contrast:

        >>> import torch
        >>> class Fade(Operator):
        ...     def A(self, x): return x / 2
        ...     def pinv(self, y): return y * 2
        >>> operator = Fade()
        >>> x, y = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
        >>> torch.allclose(operator.A(operator.fit(x, y)), y)
        True
    """

    @abstractmethod
    def A(self, x: Tensor) -> Any:
        """The measurement y = A x of the image x."""

    @abstractmethod
    def pinv(self, y: Any) -> Tensor:
        """The pseudo-inverse A^+ y."""

    def fit(self, x: Tensor, y: Any) -> Tensor:
        """Data consistency: projects x onto the measurements, A^+ y + (I - A^+ A) x.

        This default is for a linear A, where it equals x + A^+ (y - A x). Returns a new tensor; x is not changed.
        """
        return x + self.pinv(y - self.A(x))


class DeepinvOperator(Operator):
    """A `deepinv.physics.Physics`, or anything with `A` and `A_dagger`, as an operator."""

    def __init__(self, physics: Any) -> None:
        self.physics = physics

    def A(self, x: Tensor) -> Tensor:
        """`physics.A(x)`."""
        return self.physics.A(x)

    def pinv(self, y: Tensor) -> Tensor:
        """`physics.A_dagger(y)`."""
        return self.physics.A_dagger(y)


def as_operator(thing: Any) -> Operator:
    """Returns `thing` if it is an operator (with `A`, `pinv`, `fit`), or wraps it.

    deepinv's linear physics (with `A`, `A_adjoint`) become a `Linear`, and objects with `A` and `A_dagger` a
    `DeepinvOperator`. The range of their images is the caller's: in schemes it is [-1, 1].

        >>> class Negative:
        ...     def A(self, x): return -x
        ...     def A_dagger(self, y): return -y
        >>> import torch
        >>> as_operator(Negative()).pinv(torch.ones(1))
        tensor([-1.])

    Raises RestoreError for anything else.
    """
    from .linear import Linear

    def has(*names: str) -> bool:
        return all(callable(getattr(thing, name, None)) for name in names)

    if has("A", "pinv", "fit"):
        return thing
    kind = type(thing).__name__
    deepinv = sys.modules.get("deepinv.physics")  # some of its other physics have an A_adjoint, too
    if deepinv and isinstance(thing, deepinv.Physics) and not isinstance(thing, deepinv.LinearPhysics):
        raise RestoreError(f"{kind} is not linear; give an operator with its own A, pinv and fit")
    if has("A", "A_adjoint"):
        return Linear(thing)
    if has("A", "A_dagger"):
        return DeepinvOperator(thing)
    raise RestoreError(f"{kind} is not an operator: it needs A, pinv and fit, or A and A_adjoint or A_dagger (deepinv)")


def data_consistency(operator: Operator, x: Tensor, y: Any, error: float) -> Tensor:
    """`operator.fit(x, y)`, or `operator.fit_denoised(x, y, error)` if there is one and x is a posterior mean.

    Args:
        operator: the operator.
        x: (B, 3, H, W), the estimate.
        y: the measurements.
        error: standard deviation of the errors of x, if it is a posterior mean; 0: it is something else.
    """
    denoised = getattr(operator, "fit_denoised", None)
    return operator.fit(x, y) if denoised is None or error == 0 else denoised(x, y, error)


def check_image(x: Tensor, size: tuple[int, int]) -> None:
    """Raises RestoreError unless x is a batch (B, 3, H, W) of floating-point images with (H, W) = size."""
    if not x.is_floating_point() or x.ndim != 4 or tuple(x.shape[1:]) != (3, *size):
        expected = f"(B, 3, {size[0]}, {size[1]})"
        raise RestoreError(f"the operator is for float images {expected}, not {x.dtype} {tuple(x.shape)}: resize x")
