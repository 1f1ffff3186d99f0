"""Which mask belongs to which picture."""

import contextlib
import dataclasses
import functools
import hashlib
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RestoreError
from ..files import located
from .inputs import unreadable

if TYPE_CHECKING:
    import numpy as np

    from ..images import Picture
    from ..masks import Marks

ALPHA = "alpha"


@dataclasses.dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask as it was when its file was read.

    Attributes:
        path: the file.
        data: its bytes.
        max_pixels: most pixels that it may declare.
    """

    path: Path
    data: bytes
    max_pixels: int

    @functools.cached_property
    def sha256(self) -> str:
        """Of the file's bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @functools.cached_property
    def picture(self) -> "Picture":
        """The mask's picture, upright."""
        from .. import images

        return images.read(self.path, max_pixels=self.max_pixels, data=self.data)


class Masks:
    """The masks of a run: one for all pictures, one of the same name for each, or the pictures' own transparency.

    Args:
        mask: a file, a folder, or "alpha".
        invert: fill the unmarked pixels instead.
        threshold: grey value, of 255, from which a pixel is marked; None: every pixel that a stroke touches is.
        grow: pixels to dilate by.
        fit: resize a mask of another size to its picture.
        max_pixels: most pixels that a mask may declare.

    Raises:
        RestoreError: there is no such file or folder.
    """

    def __init__(
        self, mask: str, *, invert: bool, threshold: int | None, grow: int, fit: bool, max_pixels: int
    ) -> None:
        self.alpha = mask == ALPHA
        self.path = located(mask)
        self.invert, self.threshold, self.grow, self.fit = invert, threshold, grow, fit
        self.max_pixels = max_pixels
        if not self.alpha and (reason := unreadable(self.path)):
            raise RestoreError(f"--mask {mask}: {reason}; give a file, a folder or the word alpha")
        self._one = not self.alpha and self.path.is_file()

    @property
    def paths(self) -> list[Path]:
        """Files and folders that are masks, not pictures."""
        if self.alpha:
            return []
        return [self.path, *(mask for masks in self._by_stem.values() for mask in masks)]

    def find(self, source: Path) -> MaskFile | None:
        """The mask of a picture; None if that is its own transparency. One mask for many pictures is read once.

        Raises:
            RestoreError: it is missing, ambiguous, or cannot be read.
        """
        if self.alpha:
            return None
        return self._only if self._one else self._read(self.file(source))

    def preload(self) -> None:
        """Reads the mask that all pictures share, if any; if it cannot be read, each picture reports that."""
        with contextlib.suppress(RestoreError):
            _ = self._one and self._only

    @functools.cached_property
    def _only(self) -> MaskFile:
        return self._read(self.path)

    def _read(self, path: Path) -> MaskFile:
        from .. import images

        return MaskFile(path, images.file_contents(path), self.max_pixels)

    def marks(self, source: Path, picture: "Picture", mask: MaskFile | None) -> "Marks":
        """The pixels that the mask of a picture marks, at the picture's size.

        Args:
            source: the picture's file.
            picture: its pixels.
            mask: its mask, from `find`.

        Raises:
            RestoreError: it has another size, it cannot be distinguished from a picture, or it marks the whole picture.
        """
        marks = self._marked(source, picture, mask)
        hole = marks.hole
        if hole.shape != picture.size:
            hole = self._fitted(hole, picture.size, mask.path if mask else source, source)
        hole = _grown(hole, self.grow)
        if hole.all():
            raise RestoreError(f"{source}: its mask marks the whole picture and leaves nothing to fill it from")
        return dataclasses.replace(marks, hole=hole)

    def _marked(self, source: Path, picture: "Picture", mask: MaskFile | None) -> "Marks":
        from .. import masks

        if mask is None:
            if picture.alpha is None:
                raise RestoreError(
                    f"{source}: has no transparency to take the mask from; give a black and white mask instead"
                )
            return masks.erased(picture.alpha, invert=self.invert, threshold=self.threshold)
        painted = mask.picture
        with masks.named(mask.path):
            return masks.marked(
                painted.pixels, painted.alpha, photo=picture.pixels, invert=self.invert, threshold=self.threshold
            )

    def file(self, picture: Path) -> Path:
        """The mask with a picture's name.

        Raises:
            RestoreError: it is missing, or ambiguous.
        """
        masks = self._by_stem.get(_stem(picture), [])
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
                masks[_stem(path)].append(path)
        return masks

    def _fitted(self, hole: "np.ndarray", size: tuple[int, int], file: Path, source: Path) -> "np.ndarray":
        from .. import masks

        (height, width), (mask_height, mask_width) = size, hole.shape
        if not self.fit:
            raise RestoreError(
                f"{file}: the mask is {mask_width}x{mask_height} and {source} is {width}x{height}; "
                "--fit-mask resizes the mask"
            )
        return masks.fitted(hole, size)


def _stem(path: Path) -> str:
    """The stem for comparisons, in which composed and decomposed accents are the same."""
    return unicodedata.normalize("NFC", path.stem)


def _grown(hole: "np.ndarray", pixels: int) -> "np.ndarray":
    import cv2
    import numpy as np

    if pixels == 0:
        return hole
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(hole.astype(np.uint8), disc).astype(bool)


def _shared_folders(mask: Path, picture: Path) -> int:
    """The number of folders with the same names, from the innermost outwards."""
    shared = 0
    for folders in zip(reversed(mask.parent.parts), reversed(picture.parent.parts), strict=False):
        ours, theirs = (unicodedata.normalize("NFC", name) for name in folders)
        if ours != theirs:
            break
        shared += 1
    return shared
