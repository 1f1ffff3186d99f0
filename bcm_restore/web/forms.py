"""What the page offers for a task: its further inputs, as the command line declares them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Field:
    """An input of a task besides the pictures.

    Attributes:
        name: of the argument.
        kind: int, float, str, bool or Path (of a file).
        help: one line.
        default: the value if it is left empty.
        required: whether it may not be left empty.
        minimum, maximum: bounds of a number.
        choices: the possible values; empty: any.
    """

    name: str
    kind: type[int] | type[float] | type[str] | type[bool] | type[Path]
    help: str
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Form:
    """A tab for a task that restores files one by one.

    Attributes:
        task: its name.
        summary: what it does, one sentence.
        fields: its further inputs.
        presets: whether it has default schemes of several NFEs to choose from.
    """

    task: str
    summary: str
    fields: tuple[Field, ...]
    presets: bool = True

    @property
    def title(self) -> str:
        """The title of its tab."""
        return "JPEG" if self.task == "jpeg" else self.task.replace("-", " ").capitalize()


@dataclass(frozen=True)
class Options:
    """The options of the server that restorations depend on.

    Attributes:
        models: names of the models to choose from; the first is the default.
        device, precision: see `batch.Settings`.
        max_pixels: most pixels that a file may declare.
    """

    models: tuple[str, ...]
    device: str = "auto"
    precision: str = "auto"
    max_pixels: int = 200_000_000
