"""JPEG restoration of files: a file's coefficients say how it was compressed, CMYK files ink by ink."""

import dataclasses
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import NothingToRestore
from ..masks import MaskFile
from ..observer import Observer
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, Result, TaskRecipe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture


@dataclasses.dataclass(kw_only=True)
class JpegRecipe(TaskRecipe):
    """Takes the traces of JPEG compression out."""

    task: str = "jpeg"
    quality: int | None

    @classmethod
    def create(cls, settings: Settings, *, input_quality: int | None = None) -> "Self":
        """The recipe for the quality that pictures were saved with before they were saved in these files."""
        return cls(settings=settings, quality=input_quality)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_restored", "_restored", self.task)

    def fingerprint(self) -> dict[str, Any]:
        """With the quality."""
        return super().fingerprint() | {"input_quality": self.quality}

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """The picture as stored, as its coefficients belong to the pixels as stored: it is turned afterwards."""
        from ... import images

        most = self.settings.max_pixels
        picture = images.read(source, upright=False, max_pixels=most, data=data)
        coefficients = images.jpeg_coefficients(source, max_pixels=most, data=data)
        quality = self.quality if coefficients else self._quality(picture)
        inputs: dict[str, Any] = {"coefficients": coefficients, "quality": quality}
        if coefficients and len(coefficients.planes) == 4:
            inputs["coefficients"] = None
            if self.quality is None:
                inks = images.read_inks(source, max_pixels=most, data=data)
                inputs = {"inks": inks, "coefficients": coefficients.inks()}
        return Loaded(source, picture, inputs)

    def _quality(self, picture: "Picture") -> int | None:
        """As given; estimated here where hidden pixels are to be filled, as what fills them was never compressed."""
        if self.quality is not None or picture.alpha is None or picture.alpha.all():
            return self.quality
        from ...tasks.jpeg import quality_of

        return quality_of(picture.pixels)

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """See `Recipe`; a picture in inks is restored by itself."""
        kind, most = super().alike(loaded)
        return ((kind, loaded.source), 1) if "inks" in loaded.inputs else (kind, most)

    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """See `Recipe`."""
        try:
            if "inks" in several[0].inputs:
                return [self._in_inks(several[0], observer)]
            return super().restore(several, observer)
        except NothingToRestore:
            raise NothingToRestore(
                f"{several[0].source}: no trace of JPEG compression found; --input-quality N restores it anyway"
            ) from None

    def _in_inks(self, loaded: Loaded, observer: Observer) -> Result:
        """Cyan, magenta and yellow are restored as an image, black as another one, if there is any."""
        inks, (coloured, black) = loaded.inputs["inks"], loaded.inputs["coefficients"]
        [made] = self.run([(inks.colours, {"coefficients": coloured})], observer)
        restored = inks.black
        if inks.black.min() < inks.black.max():
            restored = self.run([(inks.black, {"coefficients": black})], observer)[0].image
        inks = dataclasses.replace(inks, colours=made.image, black=restored)
        return self.result(loaded.picture, dataclasses.replace(made, image=inks.srgb()))
