"""What a mask means: which pixels it marks, in whatever way it was painted.

The command line, Python and the page ask this module alone, so that a mask means the same everywhere. Any pixel that
the paint touches is marked, however faintly: under a soft edge there is damage as well.
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
from .rasters import bands
from .ringing import ALIKE, CLEAR, noise_floor, without_bleeding

LOOKS = "white strokes on black, any colour on transparent or on one flat colour, or strokes on a copy of the picture"

# All levels below are of 255.
DARK = 32  # black at most
FEW = 0.75  # share of a mask that is of few colours
SAMPLE = 1 << 20  # pixels that the most frequent colours are looked for in
_MOSTLY = "white, {:.0%} of the picture (--invert-mask fills the black)"
FLAT = 5  # pixels: side of the squares that a flat background is made of


@dataclass(frozen=True, eq=False)
class Marks:
    """What a mask marks.

    Attributes:
        hole: (H, W) bool, True where the picture is to be filled.
        found: what was taken for the marks, where it is not simply white, or white is most of it; else empty.
        inverted: whether black is marked, without having been asked for.
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
    """What a mask marks.

    In this order: where it differs from the picture, if it is a copy of it with strokes; what is painted, if the rest
    is transparent; what is black, if it has the shape of strokes (`ground.strokes_on_white`); what is not black, if
    there is black; what is not of the one flat colour around. Transparent counts as black where black and white are
    painted on it.

    Args:
        pixels: the mask, (H, W) or (H, W, 3) uint8 or uint16.
        alpha: its transparency, (H, W) of the same type.
        photo: the picture, (h, w) or (h, w, 3), if it is known; of another size, it has no say.
        invert: mark what is not painted instead: whatever black or transparent has touched.
        threshold: mark what is at least that light (1 to 255) instead, transparent being black.

    Raises:
        RestoreError: it is a picture, not a mask, or a copy of the picture with nothing painted on it; without the
            mask's name.
    """
    if alpha is not None and alpha.min() == alpha.max():
        if not alpha.any():
            return Marks(np.full(alpha.shape, invert))
        alpha = None
    if threshold is not None:
        light = _levels(_light(pixels, alpha), up=False) >= threshold
        return Marks(~light if invert else light)
    pictured = alpha is None or _frequent(pixels[alpha > 0][:, None], 8)[1] < FEW
    if photo is not None and photo.shape[:2] == pixels.shape[:2] and pictured:
        visible = None if alpha is None else alpha == alpha.max()
        strokes = _strokes_on_copy(_levels(pixels, up=False), _levels(photo, up=False), visible)
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
    """What the mask in a file marks, upright; see `marked` and `images.read`.

    Raises:
        RestoreError: it can't be read, or can't be told from a picture.
    """
    mask = images.read(path, max_pixels=max_pixels)
    with named(path):
        found = marked(mask.pixels, mask.alpha, photo=photo, threshold=threshold)
    warn_if_inverted(found, path)
    return found


def warn_if_inverted(marks: Marks, name: str | Path) -> None:
    """Says that black was taken as marked, where there is no option to have it otherwise."""
    if marks.inverted:
        warnings.warn(
            f"{name}: black strokes on white, taken as marked; give a bool mask, mask > 127, to fill the white",
            RestoreWarning,
            stacklevel=3,
        )


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Puts the mask's name before what is said of it."""
    try:
        yield
    except RestoreError as error:
        raise RestoreError(f"{path}: {error}") from None


def erased(alpha: np.ndarray, *, invert: bool = False, threshold: int | None = None) -> Marks:
    """What is transparent in a picture, however little, as a soft eraser leaves it.

    Args:
        alpha: (H, W) uint8 or uint16, 0 is transparent.
        invert: mark what is opaque instead.
        threshold: mark what is at least that transparent (1 to 255).
    """
    clear = _levels(np.iinfo(alpha.dtype).max - alpha, up=threshold is None)
    if threshold is None and clear.min() < 128:
        clear = clear - clear.min()
    hole = clear > noise_floor(clear) if threshold is None else clear >= threshold
    return Marks(~hole if invert else hole)


def fitted(hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A hole at another size: every pixel that a marked one covers, in part or whole."""
    for axis, (new, old) in enumerate(zip(size, hole.shape, strict=True)):
        starts = np.arange(new) * old // new
        stops = -(-np.arange(1, new + 1) * old // new)
        before = np.insert(np.cumsum(hole, axis=axis, dtype=np.int32), 0, 0, axis=axis)
        hole = before.take(stops, axis) > before.take(starts, axis)
    return hole


def _strokes_on_copy(mask: np.ndarray, photo: np.ndarray, visible: np.ndarray | None) -> np.ndarray | None:
    """Where a copy of the photo differs from it; None if it is no copy.

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
    """Whether the photo is there: most of it, and of what stands out from its most frequent colour as well.

    The latter, because a black mask agrees with most of a dark photo.
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
    """Where two pictures differ by more than the compression of one of them.

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
    """The share of black, which is that dark at least, and of white."""
    light = _levels(_sample(pixels), up=False)
    return float(np.mean((light.max(1) <= dark) | (light.min(1) >= 255 - dark)))


def _black_and_white(painted: np.ndarray) -> bool:
    """Whether what is painted on transparent, (N[, 3]), is itself black with white on it."""
    light = _levels(painted[:, None], up=False)
    if _two_tone(light, DARK) < FEW:
        return False
    return bool(np.mean(light <= DARK) >= 0.05 and np.mean(light >= 255 - DARK) >= 0.001)


def _on_transparent(pixels: np.ndarray, alpha: np.ndarray, invert: bool) -> Marks:
    """Strokes of any colour on transparent."""
    colours, share = _frequent(pixels[alpha > 0][:, None], 8)
    if np.mean(alpha > 0) > 0.5 and share < FEW:
        raise RestoreError(f"can't tell its marks: most of it shows a picture; a mask is {LOOKS}")
    opaque = np.iinfo(alpha.dtype).max
    paint = _levels(opaque - alpha if invert else alpha, up=True)
    paint = paint - paint.min()
    light = len(colours) and np.mean(colours[0]) * 2 > opaque
    return Marks(paint > noise_floor(paint), "" if light else "what is painted on transparent")


def _on_flat(pixels: np.ndarray, invert: bool) -> Marks:
    """Strokes on black, or on whatever colour is around them."""
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
    paint = _levels(distance, up=True)
    floor = noise_floor(paint)
    hole = paint > floor
    if floor and not grey:
        plain = np.full_like(pixels, ground)
        hole = without_bleeding(hole, *(_levels(one, up=False) for one in (pixels, plain)), flat=True)
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
    if _levels(ground, up=False).min() < 255 - DARK or _two_tone(pixels, DARK) < FEW:
        return False
    return strokes_on_white(np.ascontiguousarray(_colours(_levels(pixels, up=False)).max(2)))


def _check_flat(pixels: np.ndarray, distance: np.ndarray, colours: np.ndarray) -> None:
    """Refuses a mask that has neither a flat background nor few colours.

    Args:
        pixels: the mask.
        distance: of its pixels from the background.
        colours: the most frequent ones.

    Raises:
        RestoreError: says what a mask looks like.
    """
    ground = distance == 0
    if max(_flat(ground), _flat(_distances(pixels, colours[0]) == 0)) >= 0.2:
        return
    # of black and white nothing may be flat where they are spread finely, and compressed
    close = 3 * DARK // 2 if ground.mean() > 0.05 and _levels(distance, up=True).max() > 255 - DARK else 0
    few = np.zeros(distance.shape, bool)
    for colour in colours[:2] if close else colours:
        few |= _levels(_distances(pixels, colour), up=True) <= close
    if few.mean() < FEW:
        raise RestoreError(
            f"can't tell its marks: many colours and no flat background; a mask is {LOOKS}; "
            "or say from which level on it is marked, with --mask-threshold, or in Python mask > level"
        )


def _flat(same: np.ndarray) -> float:
    """The share of pixels in the middle of squares that are the same all over."""
    return float(cv2.erode(same.astype(np.uint8), np.ones((FLAT, FLAT), np.uint8)).mean())


def _black(pixels: np.ndarray, ground: np.ndarray, grey: bool) -> np.ndarray | None:
    """The colour that passes for black; None if there is none, or so little that it is painted on another."""
    level = int(_levels(ground, up=False).max())
    share = 0.0 if grey and not CLEAR <= level <= 255 - DARK else 0.25
    sample = _sample(pixels)
    for limit in (0, DARK):
        dark = sample[_levels(sample, up=True).max(1) <= limit]
        if len(dark) >= max(share * len(sample), 1):
            return _frequent(dark[:, None], 1)[0][0]
    return None


def _lightest(pixels: np.ndarray) -> np.unsignedinteger:
    """The value of what is white in a mask: its largest that is frequent, as ringing overshoots."""
    values, counts = np.unique(_sample(pixels).max(1), return_counts=True)
    return values[counts >= 0.25 * counts[values > values.max() // 2].max()].max()


def _is_grey(pixels: np.ndarray) -> bool:
    return bool(np.mean(np.ptp(_levels(_sample(pixels), up=False), axis=1) > DARK) < 0.001)


def _frequent(pixels: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """The most frequent colours, (count or fewer, 1 or 3), and the share that they make up."""
    sample = _sample(pixels)
    if not len(sample):
        return sample, 0.0
    packed = sample.astype(np.int64) @ (1 << 16 * np.arange(sample.shape[1]))
    _, places, counts = np.unique(packed, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:count]
    return sample[places[order]], float(counts[order].sum() / len(sample))


def _sample(pixels: np.ndarray) -> np.ndarray:
    """The pixels of every so many rows, (N, 1 or 3)."""
    colours = _colours(pixels)
    step = -(-pixels.shape[0] * pixels.shape[1] // SAMPLE)
    return colours[::step].reshape(-1, colours.shape[2])


def _light(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Luminance over black, of the type of the pixels; any light is at least 1."""
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
    """How far each pixel is from a colour, (H, W)."""
    out = np.empty(pixels.shape[:2], pixels.dtype)
    for rows in bands(pixels.shape[:2]):
        out[rows] = _distance(_colours(pixels[rows]), colour)
    return out


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest difference in a channel."""
    difference = np.abs(a.astype(np.int32) - b)
    return functools.reduce(np.maximum, np.moveaxis(difference, -1, 0))


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3)."""
    return np.ascontiguousarray(np.broadcast_to(_colours(pixels), (*pixels.shape[:2], 3)))


def _colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3)."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _levels(values: np.ndarray, *, up: bool) -> np.ndarray:
    """uint8 of uint8 or uint16 values, rounded down, or up so that no value but 0 becomes 0."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 255 * up) >> 8).clip(max=255).astype(np.uint8)
