"""The picture that is painted on: it is shown scaled, and restored at its full size."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch.masks import MaskFile, Masks
from ..batch.outcomes import Outcome
from ..errors import RestoreError

if TYPE_CHECKING:
    import numpy as np

    from ..images import Picture
    from .work import Reporter

SIDE = 1600  # pixels: the largest side of a picture in the browser
COLOUR = (255, 45, 85)  # of strokes


@dataclasses.dataclass
class Canvas:
    """An opened picture and its restorations.

    Attributes:
        source: its file as it was uploaded.
        folder: for its results.
        max_pixels: most pixels that a file may declare.
        steps: the source, and the result of each restoration, without loss.
        loaded: the hole from a mask's file (H, W) bool, and how it is shown (h, w).
    """

    source: Path
    folder: Path
    max_pixels: int
    steps: list[Path] = dataclasses.field(init=False)
    loaded: "tuple[np.ndarray, np.ndarray] | None" = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        self.steps = [self.source]

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._read(self.source).size

    def preview(self) -> Path:
        """The current picture for the browser.

        Raises:
            RestoreError: its file cannot be read.
        """
        target = self.folder / f"preview_{len(self.steps)}.png"
        if not target.exists():
            _shown(self._read(self.steps[-1])).save(target, compress_level=1)
        return target

    def load_mask(self, file: Path, fit: bool) -> Path:
        """Reads a mask's file by the rules of the command line; returns the strokes for the browser.

        Args:
            file: the mask.
            fit: whether to resize it to the picture.

        Raises:
            RestoreError: see `batch.masks.Masks.marks`.
        """
        import numpy as np
        from PIL import Image

        from .. import masks

        picture = self._read(self.steps[-1])
        reading = Masks(str(file), invert=False, threshold=None, grow=0, fit=fit, max_pixels=self.max_pixels)
        hole = reading.marks(self.source, picture, MaskFile(file, file.read_bytes(), self.max_pixels)).hole
        shown = masks.fitted(hole, _size_shown(hole.shape))
        self.loaded = hole, shown
        layer = np.zeros((*shown.shape, 4), np.uint8)
        layer[shown] = (*COLOUR, 255)
        target = self.folder / f"{file.stem}_layer.png"
        Image.fromarray(layer).save(target)
        return target

    def hole(self, layers: "list[np.ndarray]") -> "np.ndarray":
        """The pixels that strokes touch, at the size of the picture; a loaded mask keeps its own pixels.

        Args:
            layers: (h, w, 4) each, of the size shown.

        Raises:
            RestoreError: nothing is painted.
        """
        import numpy as np

        from .. import masks

        strokes = [layer[..., 3] > 0 for layer in layers if layer is not None]
        painted = functools.reduce(np.logical_or, strokes, np.zeros(_size_shown(self.size), bool))
        if not painted.any():
            raise RestoreError("nothing is painted: paint over what is to be filled, or load a mask")
        if self.loaded is None or self.loaded[1].shape != painted.shape:
            return masks.fitted(painted, self.size)
        hole, shown = self.loaded
        return (hole & masks.fitted(painted, self.size)) | masks.fitted(painted & ~shown, self.size)

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

        from .work import require_one, restored

        folder = self.folder / f"step_{len(self.steps)}"
        folder.mkdir(exist_ok=True)
        mask = folder / "mask.png"
        Image.fromarray(hole.astype(np.uint8) * 255).save(mask, compress_level=1)
        # a threshold, so that white is filled whatever its shape
        given = {"mask": mask, "mask_threshold": 128, "max_pixels": self.max_pixels, "overwrite": True, **options}
        lossless = ".tiff" if self.source.suffix.lower() in (".tif", ".tiff") else ".png"
        target = folder / f"{self.source.stem}_inpainted{lossless}"
        [outcome] = restored("inpaint", [self.steps[-1]], target, reporter, **given)
        require_one(outcome)
        self.steps.append(target)
        self.loaded = None
        return outcome

    def undo(self) -> bool:
        """Goes back to the picture before the last restoration; whether there was one."""
        if len(self.steps) == 1:
            return False
        self.steps.pop()
        (self.folder / f"preview_{len(self.steps) + 1}.png").unlink(missing_ok=True)
        return True

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

    def _read(self, path: Path) -> "Picture":
        from .. import images

        return images.read(path, max_pixels=self.max_pixels)


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
