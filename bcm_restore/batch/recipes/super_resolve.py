"""Super-resolution of files; a JPEG is restored from its coefficients first."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RestoreError
from ..masks import MaskFile
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, TaskRecipe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture

MAX_RESULT = 400_000_000  # pixels of an enlarged picture: 5 GB of memory in the process


@dataclasses.dataclass(kw_only=True)
class SuperResolveRecipe(TaskRecipe):
    """Enlarges pictures."""

    task: str = "super-resolve"
    noise: float | None

    @classmethod
    def create(cls, settings: Settings, *, scale: int = 4, noise: float | None = None) -> "Self":
        """The recipe for a scale, and for the standard deviation of the pictures' noise, of 255.

        Raises:
            RestoreError: the scale is not supported.
        """
        from ...tasks.super_resolve import check_scale

        check_scale(scale)
        return cls(settings=settings, scale=scale, noise=noise)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming(f"_x{self.scale}", "_x[2348]", self.task)

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; includes the scale and the noise."""
        return super().fingerprint() | {"scale": self.scale, "noise": self.noise}

    def pixels(self, data: bytes) -> int:
        """See `Recipe`."""
        return super().pixels(data) * self.scale**2

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """See `Recipe`; a JPEG as stored, like its coefficients."""
        from ... import images

        most = self.settings.max_pixels
        coefficients = images.jpeg_coefficients(source, max_pixels=most, data=data)
        picture = images.read(source, upright=coefficients is None, max_pixels=most, data=data)
        loaded = self.load(source, picture, mask, picture)
        return dataclasses.replace(loaded, inputs=loaded.inputs | {"coefficients": coefficients})

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`; refuses a picture whose result would be too large."""
        height, width = picture.size
        if height * width * self.scale**2 > MAX_RESULT:
            raise RestoreError(
                f"{source}: {width * self.scale}x{height * self.scale} is more than {MAX_RESULT // 10**6} megapixels; "
                "use a smaller --scale"
            )
        return Loaded(source, picture, {"scale": self.scale, "noise": self.noise})
