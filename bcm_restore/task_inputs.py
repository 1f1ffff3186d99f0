"""Declares the inputs of a task besides the picture, so that the command line can offer them as options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Input:
    """An input of a task, offered as an option of `bcm-restore run TASK`: `Input("blur", float, ...)` is --blur.

    Attributes:
        name: the argument of the task's `problem`.
        kind: int, float, str, bool (an option without a value), or Path (of a file; passed to the task as a path).
        help: one line.
        default: the value if the option is omitted.
        required: whether the option is required.
        minimum: the least value of a number.
        maximum: the greatest value of a number.
    """

    name: str
    kind: type[int] | type[float] | type[str] | type[bool] | type[Path]
    help: str
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
