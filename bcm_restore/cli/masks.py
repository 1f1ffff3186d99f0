"""Which mask belongs to which picture."""

import functools
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RestoreError
from ..files import located
from .inputs import trouble

if TYPE_CHECKING:
    import numpy as np

ALPHA = "alpha"


class Masks:
    """The masks that `--mask` and its companions name.

    Args:
        mask: a file, a folder, or "alpha".
        invert: fill what is not marked instead.
        grow: pixels to dilate by.
        fit: resize a mask of another size to its picture.
        max_pixels: most pixels that a mask may declare.

    Raises:
        RestoreError: there is no such file or folder.
    """

    def __init__(self, mask: str, *, invert: bool, grow: int, fit: bool, max_pixels: int) -> None:
        self.alpha = mask == ALPHA
        self.path = located(mask)
        self.invert, self.grow, self.fit = invert, grow, fit
        self.max_pixels = max_pixels
        if not self.alpha and (reason := trouble(self.path)):
            raise RestoreError(f"--mask {mask}: {reason}; give a file, a folder or the word alpha")
        self._one = not self.alpha and self.path.is_file()

    @property
    def paths(self) -> list[Path]:
        """Files and folders that are masks, not pictures."""
        if self.alpha:
            return []
        return [self.path, *(mask for masks in self._by_stem.values() for mask in masks)]

    def of(self, picture: Path, size: tuple[int, int]) -> "np.ndarray":
        """The mask of a picture: bool (H, W), True where it is to be filled.

        Args:
            picture: its file.
            size: its height and width.

        Raises:
            RestoreError: there is none, it has another size, or it marks the whole picture.
        """
        from .. import images

        file = self.file(picture)
        if file is None:
            hole = images.read_mask(picture, source="alpha", max_pixels=self.max_pixels)
        else:
            hole = _read(file, self.max_pixels)
        if hole.shape != size:
            hole = self._fitted(hole, size, file or picture, picture)
        hole = _grown(~hole if self.invert else hole, self.grow)
        if hole.all():
            raise RestoreError(f"{picture}: its mask marks the whole picture and leaves nothing to fill it from")
        return hole

    def file(self, picture: Path) -> Path | None:
        """The file of a picture's mask; None where its own transparency is.

        Raises:
            RestoreError: there is none, or there are two.
        """
        if self.alpha:
            return None
        if self._one:
            return self.path
        masks = self._by_stem.get(picture.stem, [])
        if not masks:
            raise RestoreError(f"{picture}: no mask named {picture.stem}.* in {self.path}")
        ranked = sorted(masks, key=lambda mask: _shared_folders(mask, picture), reverse=True)
        if len(ranked) > 1 and _shared_folders(ranked[0], picture) == _shared_folders(ranked[1], picture):
            raise RestoreError(f"{picture}: both {ranked[0]} and {ranked[1]} could be its mask; leave one")
        return ranked[0]

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        from .. import images

        masks: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.path.rglob("*")):
            if images.is_image(path) and path.is_file() and not path.name.startswith("."):
                masks[path.stem].append(path)
        return masks

    def _fitted(self, hole: "np.ndarray", size: tuple[int, int], file: Path, picture: Path) -> "np.ndarray":
        import cv2
        import numpy as np

        (height, width), (mask_height, mask_width) = size, hole.shape
        if not self.fit:
            raise RestoreError(
                f"{file}: the mask is {mask_width}x{mask_height} and {picture} is {width}x{height}; "
                "--fit-mask resizes the mask"
            )
        return cv2.resize(hole.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


@functools.lru_cache(maxsize=1)
def _read(file: Path, max_pixels: int) -> "np.ndarray":
    """One mask for many pictures is read once."""
    from .. import images

    return images.read_mask(file, max_pixels=max_pixels)


def _grown(hole: "np.ndarray", pixels: int) -> "np.ndarray":
    import cv2
    import numpy as np

    if pixels == 0:
        return hole
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(hole.astype(np.uint8), disc).astype(bool)


def _shared_folders(mask: Path, picture: Path) -> int:
    """How many folders, from the innermost outwards, have the same names."""
    shared = 0
    for ours, theirs in zip(reversed(mask.parent.parts), reversed(picture.parent.parts), strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared
