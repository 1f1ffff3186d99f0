"""What a task needs besides the picture, declared so that the command line can ask for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Input:
    """An input of a task, which `bcm-restore run TASK` offers as an option: `Input("blur", float, ...)` is --blur.

    Attributes:
        name: of the argument of the task's `problem`.
        kind: int, float, str, bool (an option without a value), or Path (a file, given to the task by its path).
        help: one line.
        default: what the task gets if nothing is given.
        required: whether something has to be given.
        minimum, maximum: of a number.
    """

    name: str
    kind: type[int] | type[float] | type[str] | type[bool] | type[Path]
    help: str
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
