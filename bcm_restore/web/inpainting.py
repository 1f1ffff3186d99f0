"""The picture that is painted on: it is shown scaled, and restored at its full size."""

import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch.masks import MaskFile, Masks
from ..batch.outcomes import Outcome
from ..errors import RestoreError

if TYPE_CHECKING:
    import numpy as np

    from ..images import Picture
    from .work import Reporter

    Layers = Sequence[np.ndarray]

SIDE = 1600  # pixels: the largest side of a picture in the browser
COLOUR = (255, 45, 85)  # of strokes
LOADED = (255, 45, 86)  # of a loaded mask among the strokes: it marks its own pixels at full size


@dataclasses.dataclass
class Canvas:
    """An opened picture and its restorations.

    Attributes:
        source: its file as it was uploaded.
        folder: for its results.
        max_pixels: most pixels that a file may declare.
        steps: the source, and the result of each restoration, without loss.
        loaded: the hole from masks' files, (H, W) bool; those pixels are filled that the eraser has left.
    """

    source: Path
    folder: Path
    max_pixels: int
    steps: list[Path] = dataclasses.field(init=False)
    loaded: "np.ndarray | None" = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        self.steps = [self.source]
        self._previews: dict[Path, Path] = {}

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._read(self.source).size

    def preview(self) -> Path:
        """The current picture for the browser.

        Raises:
            RestoreError: its file cannot be read.
        """
        current = self.steps[-1]
        if current not in self._previews:
            target = self._new("preview.png")
            _shown(self._read(current)).save(target, compress_level=1)
            self._previews[current] = target
        return self._previews[current]

    def strokes(self, layers: "Layers" = ()) -> list[Path]:
        """A layer for the editor with the loaded mask and the strokes of `layers`; none if there is no mask.

        Raises:
            RestoreError: see `preview`.
        """
        import numpy as np
        from PIL import Image

        from .. import masks

        if self.loaded is None:
            return []
        size = _size_shown(self.size)
        pixels = np.zeros((*size, 4), np.uint8)
        pixels[masks.fitted(self.loaded, size)] = (*LOADED, 255)
        pixels[_marks(layers, size)[1]] = (*COLOUR, 255)
        target = self._new("strokes.png")
        Image.fromarray(pixels).save(target, compress_level=1)
        return [target]

    def load_mask(self, file: Path, fit: bool, layers: "Layers" = ()) -> None:
        """Reads a mask's file by the rules of the command line, and adds it to what is left of earlier ones.

        Args:
            file: the mask.
            fit: whether to resize it to the picture.
            layers: see `hole`.

        Raises:
            RestoreError: see `batch.masks.Masks.marks`.
        """
        picture = self._read(self.steps[-1])
        reading = Masks(str(file), invert=False, threshold=None, grow=0, fit=fit, max_pixels=self.max_pixels)
        found = reading.marks(self.source, picture, MaskFile(file, file.read_bytes(), self.max_pixels)).hole
        self.loaded = found if self.loaded is None else found | (self.loaded & _marks(layers, self.size)[0])

    def hole(self, layers: "Layers") -> "np.ndarray":
        """The pixels that strokes touch, and those of the loaded mask, at the size of the picture.

        Args:
            layers: strokes and the layer of `strokes`, (h, w, 4) each, at any size.

        Raises:
            RestoreError: nothing is marked.
        """
        loaded, found = _marks(layers, self.size)
        if self.loaded is not None:
            found |= self.loaded & loaded
        if not found.any():
            raise RestoreError("nothing is painted: paint over what is to be filled, or load a mask")
        return found

    def restore(self, hole: "np.ndarray", reporter: "Reporter", **options: Any) -> Outcome:
        """Fills the hole at full size; the result becomes the current picture.

        Args:
            hole: (H, W) bool.
            reporter: receives the progress.
            **options: see `batch.restore`.

        Raises:
            RestoreError: the hole covers the whole picture, or an option does not fit.
        """
        import numpy as np
        from PIL import Image

        from . import work

        lossless = ".tiff" if self.source.suffix.lower() in (".tif", ".tiff") else ".png"
        with work.results(self.folder) as folder:
            mask, target = folder / "mask.png", folder / f"{self.source.stem}_inpainted{lossless}"
            Image.fromarray(hole.astype(np.uint8) * 255).save(mask, compress_level=1)
            # a threshold, so that white is filled whatever its shape
            given = {"mask": mask, "mask_threshold": 128, "max_pixels": self.max_pixels, "overwrite": True, **options}
            [outcome] = work.restored("inpaint", [self.steps[-1]], target, reporter, **given)
            work.require_one(outcome)
        self.steps.append(target)
        self.loaded = None
        return outcome

    @property
    def undoable(self) -> bool:
        """Whether there is something to undo."""
        return self.loaded is not None or len(self.steps) > 1

    def undo(self) -> None:
        """Removes the loaded mask, or else goes back to the picture before the last restoration."""
        if self.loaded is not None:
            self.loaded = None
        elif len(self.steps) > 1:
            self.steps.pop()

    def download(self) -> Path:
        """The current picture in the format of the source, or as PNG if that format is not written."""
        from .. import images

        current = self.steps[-1]
        try:
            suffix = self.source.suffix if images.output_format(self.source) else ""
        except RestoreError:
            return current
        target = current.with_suffix(suffix)
        if target != current and not target.exists():
            images.write(self._read(current), target)
        return target

    def _new(self, name: str) -> Path:
        """A file in a new folder, as browsers keep what they have seen under a path."""
        return Path(tempfile.mkdtemp(dir=self.folder), name)

    def _read(self, path: Path) -> "Picture":
        from .. import images

        return images.read(path, max_pixels=self.max_pixels)


def _marks(layers: "Layers", size: tuple[int, int]) -> "tuple[np.ndarray, np.ndarray]":
    """Where layers show a loaded mask, and where strokes, (H, W) bool each, at a `size` (H, W)."""
    import numpy as np

    from .. import masks

    loaded, painted = np.zeros(size, bool), np.zeros(size, bool)
    for layer in layers:
        mask = (layer == (*LOADED, 255)).all(-1)
        loaded |= masks.fitted(mask, size)
        painted |= masks.fitted((layer[..., 3] > 0) & ~mask, size)
    return loaded, painted


def _size_shown(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in the browser."""
    scale = min(SIDE / max(size), 1)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _shown(picture: "Picture") -> Any:
    """The picture at the size shown, 8 bits per channel, with its colour profile."""
    import numpy as np
    from PIL import Image

    from ..images import as_depth

    pixels = as_depth(picture.pixels, np.uint8)
    image = Image.fromarray(pixels)
    if picture.alpha is not None:
        image = image.convert("RGB")
        image.putalpha(Image.fromarray(as_depth(picture.alpha, np.uint8)))
    small = image.resize(_size_shown(picture.size)[::-1], Image.Resampling.LANCZOS, reducing_gap=2)
    small.info["icc_profile"] = picture.icc
    return small
