"""JPEG restoration of files from their coefficients; CMYK files in their four channels."""

import dataclasses
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
    """Removes the artefacts of JPEG compression."""

    nothing: ClassVar[str] = "no trace of JPEG compression found; --input-quality N restores it anyway"
    task: str = "jpeg"
    input_quality: int | None = None

    @classmethod
    def create(cls, settings: Settings, *, input_quality: int | None = None) -> "Self":
        """The recipe for the quality of an earlier compression, if it is given."""
        return cls(settings=settings, input_quality=input_quality)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_restored", "_restored", self.task)

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; includes the quality."""
        return super().fingerprint() | {"input_quality": self.input_quality}

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """The picture as stored, like its coefficients; it is turned upright afterwards."""
        from ... import images

        most = self.settings.max_pixels
        picture = images.read(source, upright=False, max_pixels=most, data=data)
        coefficients = images.jpeg_coefficients(source, max_pixels=most, data=data)
        if coefficients is None:
            return self.load(source, picture, mask, picture)
        inputs: dict[str, Any] = {"coefficients": coefficients, "input_quality": self.input_quality}
        if len(coefficients.planes) == 4:
            inputs["coefficients"] = None
            if self.input_quality is None:
                inks = images.read_inks(source, max_pixels=most, data=data)
                inputs = {"inks": inks, "coefficients": coefficients.inks()}
        return Loaded(source, picture, inputs)

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`; the compression is estimated from the pixels."""
        return Loaded(source, picture, {"input_quality": self._quality(picture)})

    def _quality(self, picture: "Picture") -> int | None:
        """The given quality; estimated here if hidden pixels are filled, as the filling was never compressed."""
        if self.input_quality is not None or picture.alpha is None or picture.alpha.all():
            return self.input_quality
        from ...tasks.jpeg import quality_of

        return quality_of(picture.pixels)

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """See `Recipe`; a CMYK picture is restored alone."""
        kind, most = super().alike(loaded)
        return ((kind, loaded.source), 1) if "inks" in loaded.inputs else (kind, most)

    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """See `Recipe`."""
        with self.named(several[0].source):
            if "inks" in several[0].inputs:
                return [self._in_inks(several[0], observer)]
        return super().restore(several, observer)

    def _in_inks(self, loaded: Loaded, observer: Observer) -> Result:
        """Restores cyan, magenta and yellow as one image, and black as another, if there is any."""
        inks, (coloured, black) = loaded.inputs["inks"], loaded.inputs["coefficients"]
        [made] = self.run([(inks.colours, {"coefficients": coloured})], observer)
        restored = inks.black
        if inks.black.min() < inks.black.max():
            restored = self.run([(inks.black, {"coefficients": black})], observer)[0].image
        inks = dataclasses.replace(inks, colours=made.image, black=restored)
        return self.result(loaded.picture, dataclasses.replace(made, image=inks.srgb()))
