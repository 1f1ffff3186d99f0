"""Colorization of files: grey ones become RGB."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..masks import MaskFile
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, TaskRecipe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture


@dataclasses.dataclass(kw_only=True)
class ColorizeRecipe(TaskRecipe):
    """Adds colours."""

    task: str = "colorize"

    @classmethod
    def create(cls, settings: Settings) -> "Self":
        """The recipe; the task has no other inputs."""
        return cls(settings=settings)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_colorized", "_colorized", self.task)

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`."""
        return Loaded(source, picture)
