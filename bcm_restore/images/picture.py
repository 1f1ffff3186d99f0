"""A picture in memory: pixels and metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .metadata import with_orientation

# The transformation for each EXIF orientation, of an array whose first two axes are rows and columns.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class Timing:
    """The timing of an animation.

    Attributes:
        durations: of each frame, in ms.
        loop: number of repetitions; 0: endless.
        apart: the first frame is a still for programs without animation support, and not part of the animation.
    """

    durations: tuple[int, ...]
    loop: int = 0
    apart: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of a file, and its metadata."""

    pixels: np.ndarray
    """(H, W) grey or (H, W, 3) RGB, uint8 or uint16, C-contiguous, not premultiplied by alpha."""
    alpha: np.ndarray | None = None
    """(H, W), same dtype as `pixels`: 0 is transparent."""
    icc: bytes | None = None
    """Colour profile of `pixels`."""
    exif: bytes | None = None
    """EXIF with its `Exif` prefix; its orientation tag, if any, agrees with `orientation`."""
    orientation: int = 1
    """EXIF orientation that is still to be applied to `pixels`: 1 when upright."""
    format: str = "PNG"
    """Pillow's name for the source's format."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, across and down."""
    xmp: bytes | None = None
    """XMP packet."""
    iptc: bytes | None = None
    """IPTC records."""
    text: tuple[tuple[str, str], ...] = ()
    """Keywords and texts of a PNG; a comment has the keyword "Comment"."""
    cicp: tuple[int, int, int, int] | None = None
    """Colour space of `pixels` that no profile can express (ITU-T H.273: PQ, HLG), as in PNG."""

    def __post_init__(self) -> None:
        grey_or_rgb = self.pixels.ndim == 2 or (self.pixels.ndim == 3 and self.pixels.shape[2] == 3)
        if not grey_or_rgb or self.pixels.dtype not in (np.uint8, np.uint16) or self.pixels.size == 0:
            raise ValueError(f"pixels of shape {self.pixels.shape} and type {self.pixels.dtype} are not a picture")
        object.__setattr__(self, "pixels", np.ascontiguousarray(self.pixels))
        if self.alpha is not None:
            if self.alpha.shape != self.pixels.shape[:2] or self.alpha.dtype != self.pixels.dtype:
                raise ValueError(
                    f"alpha of shape {self.alpha.shape} and type {self.alpha.dtype} does not fit the pixels"
                )
            object.__setattr__(self, "alpha", np.ascontiguousarray(self.alpha))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def upright(self) -> Picture:
        """Applies the orientation to pixels and alpha, and sets the tag in `exif` to 1."""
        if self.orientation == 1:
            return self
        turn = _TURNS[self.orientation]
        sideways = self.orientation >= 5
        return replace(
            self,
            pixels=turn(self.pixels),
            alpha=None if self.alpha is None else turn(self.alpha),
            exif=with_orientation(self.exif, 1),
            orientation=1,
            dpi=self.dpi[::-1] if self.dpi and sideways else self.dpi,
        )

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None = None) -> Picture:
        """The same picture with other pixels, whose size, depth and number of channels may differ.

        Without `alpha`, the picture's own is kept, resized and converted to fit. The profile is dropped when grey
        becomes colour or colour grey, because it does not apply any more.
        """
        if alpha is None and self.alpha is not None:
            alpha = as_depth(resized(self.alpha, (pixels.shape[0], pixels.shape[1])), pixels.dtype)
        icc = self.icc if pixels.ndim == self.pixels.ndim else None
        return replace(self, pixels=pixels, alpha=alpha, icc=icc)


def as_depth(values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Converts `values` to uint8 or uint16, rounded to the nearest; 0 and the largest value are preserved."""
    if values.dtype == dtype:
        return values
    if dtype == np.uint16:
        return values.astype(np.uint16) * np.uint16(257)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def resized(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a (H, W) uint8 or uint16 `plane` to `size` = (height, width): bicubic with antialiasing, same dtype."""
    if plane.shape == size:
        return plane
    soft = Image.fromarray(plane.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(soft)), 0, np.iinfo(plane.dtype).max).astype(plane.dtype)
