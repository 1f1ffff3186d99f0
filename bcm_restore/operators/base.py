"""What every operator has: `A`, `pinv` and `fit`. Noise is no part of an operator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..errors import RestoreError


class Operator(ABC):
    """A degradation y = A(x), without its noise.

    Images x are (B, 3, H, W) floats in [-1, 1]; the shape of y is the operator's own. Whatever the operator holds
    (a mask, matrices, tables) follows the device and dtype of the tensor it is given.

    Example, a degradation that only halves the contrast:

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
        """A^+ y: of all images with the measurement y the one that adds nothing of its own."""

    def fit(self, x: Tensor, y: Any) -> Tensor:
        """Data consistency: A^+ y + (I - A^+ A) x, what was measured replaces what was guessed.

        This default is for a linear A, where it equals x + A^+ (y - A x). A new tensor is returned, x stays as it is.
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
    """The operator that `thing` is (it has `A`, `pinv`, `fit`) or can be wrapped into (it has `A`, `A_dagger`).

    deepinv's linear physics are taken as they are; they are given images in [-1, 1].

        >>> class Negative:
        ...     def A(self, x): return -x
        ...     def A_dagger(self, y): return -y
        >>> import torch
        >>> as_operator(Negative()).pinv(torch.ones(1))
        tensor([-1.])

    Raises RestoreError for anything else.
    """
    if all(callable(getattr(thing, name, None)) for name in ("A", "pinv", "fit")):
        return thing
    if all(callable(getattr(thing, name, None)) for name in ("A", "A_dagger")):
        return DeepinvOperator(thing)
    raise RestoreError(f"{type(thing).__name__} is no operator: give it A, pinv and fit, or A and A_dagger (deepinv)")


def check_image(x: Tensor, size: tuple[int, int]) -> None:
    """Raises RestoreError unless x is a batch (B, 3, H, W) of floating-point images with (H, W) = size."""
    if not x.is_floating_point() or x.ndim != 4 or tuple(x.shape[1:]) != (3, *size):
        expected = f"(B, 3, {size[0]}, {size[1]})"
        raise RestoreError(f"the operator is for float images {expected}, not {x.dtype} {tuple(x.shape)}: resize x")
