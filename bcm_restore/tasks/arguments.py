"""Checks the arguments of tasks, with messages that name the argument and the fix."""

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..errors import RestoreError, instead
from ..weights import load_model

if TYPE_CHECKING:
    from .base import Task


COEFFICIENTS = "coefficients"


def check_names(task: "Task", given: Mapping[str, Any]) -> None:
    """Refuses inputs that are no parameters of the task's `run`, `pose` or `problem`; if those name none, accepts any.

    Raises:
        TypeError: names the first unknown input and a similar name.
    """
    own, inputs = _names(task.run) - {"image"}, _names(_posing(task)) - {"image"}
    if not inputs and _takes_any(_posing(task)) and "run" not in vars(type(task)):
        return
    for name in given:
        if name not in own | inputs:
            hint = instead(name, sorted(own | inputs), "it takes")
            if name in _names(load_model):
                hint = f"it belongs to the model: give model=load_model({name}=...)"
            raise TypeError(f"{task.name} got an unexpected keyword argument '{name}'; {hint}")


def kinds(task: "Task") -> dict[str, Any] | None:
    """The types of the task's own inputs, by name; None: any. Coefficients belong to a file and are left out."""
    parameters = inspect.signature(_posing(task)).parameters.values()
    named = {own.name: own.annotation for own in parameters if own.kind is own.KEYWORD_ONLY}
    named.pop(COEFFICIENTS, None)
    named |= {declared.name: declared.kind for declared in task.inputs}
    return named if named or not _takes_any(_posing(task)) else None


def takes_coefficients(task: "Task") -> bool:
    """Whether the coefficients of a JPEG are an input of the task."""
    return COEFFICIENTS in _names(_posing(task))


def _posing(task: "Task") -> Callable[..., Any]:
    """The task's own `pose` or `problem`."""
    own = (getattr(task, name) for cls in type(task).__mro__ for name in ("pose", "problem") if name in vars(cls))
    return next(own)


def _names(function: Callable[..., Any]) -> set[str]:
    """The names of a function's parameters."""
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}


def _takes_any(function: Callable[..., Any]) -> bool:
    """Whether a function takes keyword arguments of any name."""
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(function).parameters.values())


def whole(name: str, value: Any) -> int:
    """Converts a value to int.

    Raises:
        RestoreError: the value is not a whole number; names the argument.
    """
    try:
        return operator.index(value)
    except TypeError:
        kind = type(value).__name__
    try:
        hint = f"give {name}={int(value)}"
    except (TypeError, ValueError, OverflowError):
        hint = "give an int"
    raise RestoreError(f"{name}={value!r} is a {kind}, not a whole number; {hint}")


def real(name: str, value: Any) -> float:
    """Converts a value to float.

    Raises:
        RestoreError: the value is not a number; names the argument.
    """
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise RestoreError(f"{name}={value!r} is a {type(value).__name__}, not a number; give a float")
    return float(value)


def per_picture(inputs: Mapping[str, Any], images: Sequence[Any]) -> list[dict[str, Any]]:
    """The inputs of each picture: lists and arrays with one item per picture are split, other values are shared."""
    count = len(images)

    def own(value: Any, n: int) -> Any:
        return value[n] if _has_one_each(value, count) else value

    return [{name: own(value, n) for name, value in inputs.items()} for n in range(count)]


def _has_one_each(value: Any, count: int) -> bool:
    if isinstance(value, np.ndarray | Tensor):
        # (H, W, 1) or (H, W, 3) is one picture
        return value.ndim >= 3 and len(value) == count and (value.ndim > 3 or value.shape[2] not in (1, 3))
    return type(value) in (list, tuple) and len(value) == count  # a named tuple is one value
