"""Denoising of files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..masks import MaskFile
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, TaskRecipe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture


@dataclasses.dataclass(kw_only=True)
class DenoiseRecipe(TaskRecipe):
    """Removes noise.

    Attributes:
        sigma: its standard deviation, of 255, also one for each channel; None: measured in each picture.
        grain: the share of the noise to keep.
    """

    nothing: ClassVar[str] = "no noise found; --sigma S denoises it anyway"
    task: str = "denoise"
    sigma: float | Sequence[float] | None
    grain: float

    @classmethod
    def create(cls, settings: Settings, *, sigma: float | Sequence[float] | None = None, grain: float = 0.0) -> "Self":
        """The recipe for a noise level, if it is given, and a share of the noise to keep.

        Raises:
            RestoreError: one of them is out of range.
        """
        from ...tasks.denoise import check

        check(sigma, grain)
        return cls(settings=settings, sigma=sigma, grain=grain)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_denoised", "_denoised", self.task)

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; includes the noise level and the grain."""
        return super().fingerprint() | {"sigma": self.sigma, "grain": self.grain}

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`."""
        return Loaded(source, picture, {"sigma": self.sigma, "grain": self.grain})
