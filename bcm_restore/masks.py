"""Masks: which pixels a mask marks, however it was painted.

The command line and the Python API share this module, so that a mask means the same in both. Any pixel that the paint
touches is marked, however faintly: under a soft edge there is damage as well.
"""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import images
from .errors import RestoreError, RestoreWarning
from .ground import strokes_on_white
from .ringing import ALIKE, CLEAR, noise_floor, without_bleeding
from .spans import bands

LOOKS = "white strokes on black, any colour on transparent or on one flat colour, or strokes on a copy of the picture"

# All pixel values below are 8-bit.
DARK = 32  # the largest value that counts as black
FEW = 0.75  # the smallest share of a mask in a few colours
SAMPLE = 1 << 20  # pixels among which the most frequent colours are counted
_MOSTLY = "white, {:.0%} of the picture (--invert-mask fills the black)"
FLAT = 5  # pixels: side of the uniform squares in a flat background


@dataclass(frozen=True, eq=False)
class Marks:
    """The pixels that a mask marks.

    Attributes:
        hole: (H, W) bool, True where the picture is to be filled.
        found: how the marks were recognised, unless they are simply white and less than half; else empty.
        inverted: whether black was recognised as the marks.
    """

    hole: np.ndarray
    found: str = ""
    inverted: bool = False


def marked(
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    photo: np.ndarray | None = None,
    invert: bool = False,
    threshold: int | None = None,
) -> Marks:
    """Finds the pixels that a mask marks.

    The first rule that applies decides. Strokes on a copy of the picture: the pixels that differ from the picture.
    Strokes on transparent: the painted pixels. Black in the shape of strokes (`ground.strokes_on_white`): the black
    pixels. If there is black: the pixels that are not black. Else the pixels that differ from the flat background.
    Transparent counts as black where black and white are painted on it.

    Args:
        pixels: the mask, (H, W) or (H, W, 3) uint8 or uint16.
        alpha: its transparency, (H, W) of the same type.
        photo: the picture, (h, w) or (h, w, 3), if it is known; ignored if its size differs.
        invert: marks the unpainted pixels instead: those that black or transparency touches.
        threshold: marks the pixels of at least this value (1 to 255) instead; transparent counts as black.

    Raises:
        RestoreError: it is a picture, not a mask, or a copy of the picture with nothing painted on it. The message
            does not name the mask.
    """
    if alpha is not None and alpha.min() == alpha.max():
        if not alpha.any():
            return Marks(np.full(alpha.shape, invert))
        alpha = None
    if threshold is not None:
        light = _as_8bit(_light(pixels, alpha), up=False) >= threshold
        return Marks(~light if invert else light)
    pictured = alpha is None or _frequent(pixels[alpha > 0][:, None], 8)[1] < FEW
    if photo is not None and photo.shape[:2] == pixels.shape[:2] and pictured:
        visible = None if alpha is None else alpha == alpha.max()
        strokes = _strokes_on_copy(_as_8bit(pixels, up=False), _as_8bit(photo, up=False), visible)
        if strokes is not None:
            return Marks(~strokes if invert else strokes, "strokes on a copy of the picture")
    if alpha is not None and not _black_and_white(pixels[alpha > 0]):
        return _on_transparent(pixels, alpha, invert)
    return _on_flat(pixels if alpha is None else _light(pixels, alpha), invert)


def read(
    path: str | Path,
    photo: np.ndarray | None = None,
    *,
    threshold: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> Marks:
    """Finds the pixels that the mask in a file marks, upright; see `marked` and `images.read`.

    Raises:
        RestoreError: the file cannot be read, or it is a picture rather than a mask.
    """
    mask = images.read(path, max_pixels=max_pixels)
    with named(path):
        found = marked(mask.pixels, mask.alpha, photo=photo, threshold=threshold)
    warn_if_inverted(found, path)
    return found


def warn_if_inverted(marks: Marks, name: str | Path) -> None:
    """Warns that black was taken as marked; for callers without an option to change that."""
    if marks.inverted:
        warnings.warn(
            f"{name}: black strokes on white, taken as marked; give a bool mask, mask > 127, to fill the white",
            RestoreWarning,
            stacklevel=3,
        )


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Puts the mask's name before the message of a RestoreError."""
    try:
        yield
    except RestoreError as error:
        raise RestoreError(f"{path}: {error}") from None


def erased(alpha: np.ndarray, *, invert: bool = False, threshold: int | None = None) -> Marks:
    """Finds the transparent pixels of a picture, also those that a soft eraser made only slightly transparent.

    Args:
        alpha: (H, W) uint8 or uint16, 0 is transparent.
        invert: marks the opaque pixels instead.
        threshold: marks the pixels of at least this transparency (1 to 255).
    """
    clear = _as_8bit(np.iinfo(alpha.dtype).max - alpha, up=threshold is None)
    if threshold is None and clear.min() < 128:
        clear = clear - clear.min()
    hole = clear > noise_floor(clear) if threshold is None else clear >= threshold
    return Marks(~hole if invert else hole)


def fitted(hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a hole: marks every pixel that a marked one covers, in part or whole."""
    for axis, (new, old) in enumerate(zip(size, hole.shape, strict=True)):
        starts = np.arange(new) * old // new
        stops = -(-np.arange(1, new + 1) * old // new)
        before = np.insert(np.cumsum(hole, axis=axis, dtype=np.int32), 0, 0, axis=axis)
        hole = before.take(stops, axis) > before.take(starts, axis)
    return hole


def _strokes_on_copy(mask: np.ndarray, photo: np.ndarray, visible: np.ndarray | None) -> np.ndarray | None:
    """Finds where a copy of the photo differs from it; None if it is not a copy.

    Args:
        mask, photo: (H, W[, 3]) uint8.
        visible: (H, W) bool; None: everywhere.
    """
    grey = mask.ndim == 2 or _is_grey(mask)
    if grey and not (photo.ndim == 2 or _is_grey(photo)):
        return None
    if grey and any(_two_tone(mask, dark) >= 0.9 > _two_tone(photo, dark) for dark in (2, DARK)):
        return None
    difference, outline = np.empty(mask.shape[:2], np.uint8), np.empty(mask.shape[:2], np.uint8)
    [ground], _ = _frequent(photo, 1)
    for rows in bands(mask.shape[:2]):
        difference[rows] = _distance(_colours(mask[rows]), _colours(photo[rows]))
        outline[rows] = _distance(_colours(photo[rows]), ground)
    seen = slice(None) if visible is None else visible
    if not _reproduced(difference[seen], outline[seen]):
        return None
    strokes = _differing(difference, mask, photo)
    if visible is not None:
        strokes &= visible
        if not strokes.any():
            raise RestoreError("is the picture with parts erased; give it as the picture, with --mask alpha")
    if not strokes.any():
        raise RestoreError(f"is the picture itself with nothing painted on it; a mask is {LOOKS}")
    return strokes


def _reproduced(difference: np.ndarray, outline: np.ndarray) -> bool:
    """Whether most of the photo is reproduced, also of the pixels that stand out from its most frequent colour.

    The latter because a black mask agrees with most of a dark photo.
    """
    if np.mean(difference <= ALIKE) < 0.5:
        return False
    stands_out = outline > ALIKE
    own, shown = difference[stands_out], outline[stands_out]
    if not own.size:
        return False
    missing = int(np.minimum(own, shown).sum(dtype=np.int64))
    return bool(np.mean(own == 0) >= 0.2 or missing < 0.6 * int(shown.sum(dtype=np.int64)))


def _differing(difference: np.ndarray, copy: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Finds where two pictures differ by more than compression errors.

    Args:
        difference: of each pixel, (H, W).
        copy, photo: the pictures, (H, W[, 3]) uint8.
    """
    if _flat(difference == 0) >= 0.2:
        return difference > 0
    noise = 4 * int(np.median(difference[difference <= max(int(difference.max()) // 2, 1)])) + 4
    count, labels = cv2.connectedComponents((difference > noise).astype(np.uint8))
    painted = np.zeros(count, bool)
    painted[np.flatnonzero(np.bincount(labels[difference > max(2 * noise, CLEAR)], minlength=count))] = True
    painted[0] = False
    return without_bleeding(painted[labels], *(_rgb(one) for one in (copy, photo)), flat=False)


def _two_tone(pixels: np.ndarray, dark: int) -> float:
    """The share of black pixels (values up to `dark`) and white pixels."""
    light = _as_8bit(_sample(pixels), up=False)
    return float(np.mean((light.max(1) <= dark) | (light.min(1) >= 255 - dark)))


def _black_and_white(painted: np.ndarray) -> bool:
    """Whether the paint on transparent, (N[, 3]), is itself black with white on it."""
    light = _as_8bit(painted[:, None], up=False)
    if _two_tone(light, DARK) < FEW:
        return False
    return bool(np.mean(light <= DARK) >= 0.05 and np.mean(light >= 255 - DARK) >= 0.001)


def _on_transparent(pixels: np.ndarray, alpha: np.ndarray, invert: bool) -> Marks:
    """Strokes of any colour on transparent."""
    colours, share = _frequent(pixels[alpha > 0][:, None], 8)
    if np.mean(alpha > 0) > 0.5 and share < FEW:
        raise RestoreError(f"cannot find its marks: most of it shows a picture; a mask is {LOOKS}")
    opaque = np.iinfo(alpha.dtype).max
    paint = _as_8bit(opaque - alpha if invert else alpha, up=True)
    paint = paint - paint.min()
    light = len(colours) and np.mean(colours[0]) * 2 > opaque
    return Marks(paint > noise_floor(paint), "" if light else "strokes on transparent")


def _on_flat(pixels: np.ndarray, invert: bool) -> Marks:
    """Strokes on black, or on another flat colour."""
    full = int(np.iinfo(pixels.dtype).max)
    colours, _ = _frequent(pixels, 8)
    grey = pixels.ndim == 2 or _is_grey(pixels)
    if grey and pixels.min() == pixels.max():
        return Marks(np.full(pixels.shape[:2], bool(pixels.max()) != invert))
    black = _black(pixels, colours[0], grey)
    inverted = grey and black is not None and not invert and _strokes_on_white(pixels, colours[0])
    invert |= inverted
    ground = colours[0] if black is None else black
    distance = _distances(pixels, ground)
    _check_flat(pixels, distance, colours)
    if grey and invert and black is not None:
        white = _lightest(pixels)
        distance = white - np.minimum(_colours(pixels).max(2), white)
    paint = _as_8bit(distance, up=True)
    floor = noise_floor(paint)
    hole = paint > floor
    if floor and not grey:
        plain = np.full_like(pixels, ground)
        hole = without_bleeding(hole, *(_as_8bit(one, up=False) for one in (pixels, plain)), flat=True)
    if not grey or black is None:
        return Marks(~hole if invert else hole, "strokes on a flat background" if hole.any() else "")
    if inverted:
        return Marks(hole, "black strokes on white (--mask-threshold 128 fills the white)", inverted)
    top = int(distance.max())
    if not invert and 2 * top < full:
        return Marks(hole, f"largest value {top} of {full}")
    mostly = not invert and np.mean(distance > top // 2) > 0.5
    return Marks(hole, _MOSTLY.format(hole.mean()) if mostly else "")


def _strokes_on_white(pixels: np.ndarray, ground: np.ndarray) -> bool:
    """Whether a grey mask shows black strokes on white."""
    if _as_8bit(ground, up=False).min() < 255 - DARK or _two_tone(pixels, DARK) < FEW:
        return False
    return strokes_on_white(np.ascontiguousarray(_colours(_as_8bit(pixels, up=False)).max(2)))


def _check_flat(pixels: np.ndarray, distance: np.ndarray, colours: np.ndarray) -> None:
    """Refuses a mask that has neither a flat background nor few colours.

    Args:
        pixels: the mask.
        distance: of its pixels from the background.
        colours: the most frequent ones.

    Raises:
        RestoreError: the message describes a valid mask.
    """
    ground = distance == 0
    if max(_flat(ground), _flat(_distances(pixels, colours[0]) == 0)) >= 0.2:
        return
    # fine black and white, compressed, may have no flat areas
    close = 3 * DARK // 2 if ground.mean() > 0.05 and _as_8bit(distance, up=True).max() > 255 - DARK else 0
    few = np.zeros(distance.shape, bool)
    for colour in colours[:2] if close else colours:
        few |= _as_8bit(_distances(pixels, colour), up=True) <= close
    if few.mean() < FEW:
        raise RestoreError(
            f"cannot find its marks: many colours and no flat background; a mask is {LOOKS}; "
            "or give the smallest value of its marks: --mask-threshold VALUE, or in Python mask > value"
        )


def _flat(same: np.ndarray) -> float:
    """The share of pixels in the middle of uniform squares."""
    return float(cv2.erode(same.astype(np.uint8), np.ones((FLAT, FLAT), np.uint8)).mean())


def _black(pixels: np.ndarray, ground: np.ndarray, grey: bool) -> np.ndarray | None:
    """The colour that counts as black; None if no pixel is black, or so few that they are paint on another colour."""
    value = int(_as_8bit(ground, up=False).max())
    share = 0.0 if grey and not CLEAR <= value <= 255 - DARK else 0.25
    sample = _sample(pixels)
    for limit in (0, DARK):
        dark = sample[_as_8bit(sample, up=True).max(1) <= limit]
        if len(dark) >= max(share * len(sample), 1):
            return _frequent(dark[:, None], 1)[0][0]
    return None


def _lightest(pixels: np.ndarray) -> np.unsignedinteger:
    """The value of white in a mask: its largest frequent value, because ringing overshoots."""
    values, counts = np.unique(_sample(pixels).max(1), return_counts=True)
    return values[counts >= 0.25 * counts[values > values.max() // 2].max()].max()


def _is_grey(pixels: np.ndarray) -> bool:
    return bool(np.mean(np.ptp(_as_8bit(_sample(pixels), up=False), axis=1) > DARK) < 0.001)


def _frequent(pixels: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """The most frequent colours, (count or fewer, 1 or 3), and their share of the pixels."""
    sample = _sample(pixels)
    if not len(sample):
        return sample, 0.0
    packed = sample.astype(np.int64) @ (1 << 16 * np.arange(sample.shape[1]))
    _, places, counts = np.unique(packed, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:count]
    return sample[places[order]], float(counts[order].sum() / len(sample))


def _sample(pixels: np.ndarray) -> np.ndarray:
    """The pixels of evenly chosen rows, (N, 1 or 3)."""
    colours = _colours(pixels)
    step = -(-pixels.shape[0] * pixels.shape[1] // SAMPLE)
    return colours[::step].reshape(-1, colours.shape[2])


def _light(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Luminance over black, in the pixels' type; 0 only where it is exactly zero."""
    full = int(np.iinfo(pixels.dtype).max)
    light = np.empty(pixels.shape[:2], pixels.dtype)
    for rows in bands(pixels.shape[:2]):
        part = pixels[rows].astype(np.float64)
        if part.ndim == 3:
            part = part @ np.array([0.299, 0.587, 0.114])
        if alpha is not None:
            part *= alpha[rows] / full
        # the weighted sum may miss the exact value by a rounding error
        light[rows] = np.maximum(np.floor(part + 1e-6), part > 1e-6)
    return light


def _distances(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The distance of each pixel from a colour, (H, W)."""
    out = np.empty(pixels.shape[:2], pixels.dtype)
    for rows in bands(pixels.shape[:2]):
        out[rows] = _distance(_colours(pixels[rows]), colour)
    return out


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest difference in any channel."""
    difference = np.abs(a.astype(np.int32) - b)
    return functools.reduce(np.maximum, np.moveaxis(difference, -1, 0))


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3)."""
    return np.ascontiguousarray(np.broadcast_to(_colours(pixels), (*pixels.shape[:2], 3)))


def _colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3)."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _as_8bit(values: np.ndarray, *, up: bool) -> np.ndarray:
    """Converts uint8 or uint16 values to uint8, rounded down, or up so that only 0 becomes 0."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 255 * up) >> 8).clip(max=255).astype(np.uint8)
