"""What the page offers for a task: its further inputs, as the command line declares them."""

from dataclasses import dataclass
from typing import Any

from ..task_inputs import Input


@dataclass(frozen=True)
class Field(Input):
    """An input of a task besides the pictures.

    Attributes:
        choices: the possible values; empty: any.
    """

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
