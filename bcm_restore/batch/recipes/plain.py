"""Tasks of other packages, which use only the pixels of a picture's file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RestoreError
from ...files import digest
from ..masks import MaskFile
from ..planning import Naming
from ..settings import NAMES, Settings
from .base import Loaded, TaskRecipe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture

# names that no input of a task may have: settings, and the options of the command line
RESERVED = NAMES | {"arguments", "observer", "options", "json", "debug", "threads"}


@dataclasses.dataclass(kw_only=True)
class PlainRecipe(TaskRecipe):
    """Restores with the inputs that were given, the same for each picture.

    Attributes:
        inputs: of the task.
    """

    inputs: Mapping[str, Any]

    @classmethod
    def create(cls, settings: Settings, *, task: str, inputs: Mapping[str, Any]) -> "Self":
        """The recipe for a task and its inputs.

        Raises:
            RestoreError: there is no such task, or it lacks an input.
            TypeError: it has no input of that name.
        """
        from ... import tasks
        from ...tasks.arguments import check_names

        found = tasks.get(task)
        if isinstance(found, tasks.Interpolate):
            raise RestoreError("interpolate takes two pictures; use tasks.get('interpolate').restore([first, second])")
        check_names(found, inputs)
        for declared in found.inputs:
            if declared.required and inputs.get(declared.name) is None:
                raise RestoreError(f"task '{task}' needs {declared.name}: {declared.help}")
        return cls(settings=settings, task=found.name, inputs=inputs)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        suffix = f"_{self.task.replace('-', '_')}"
        return Naming(suffix, suffix, self.task)

    @property
    def apart(self) -> list[Path]:
        """The files among the inputs."""
        return [value for value in self.inputs.values() if isinstance(value, Path)]

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; includes the inputs, files by their content."""
        own = {
            name: digest(value) if isinstance(value, Path) else value if _is_plain(value) else repr(value)
            for name, value in self.inputs.items()
        }
        return super().fingerprint() | {"inputs": own}

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`."""
        return Loaded(source, picture, dict(self.inputs))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
