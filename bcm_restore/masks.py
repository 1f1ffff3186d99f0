"""What a mask means: which pixels it marks, in whatever way it was painted.

The command line, Python and the page ask this module alone, so that a mask means the same everywhere. Any pixel that
the paint touches is marked, however faintly: under a soft edge there is damage as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import images
from .errors import RestoreError

LOOKS = "white strokes on black, any colour on transparent or on one flat colour, or strokes on a copy of the picture"

# All levels below are of 255.
DARK = 32  # black at most
CLEAR = 64  # paint that stands out from its background by less has no ringing to tell from it
REACH = 16  # pixels: ringing is no further from an edge, with halved chroma
FLOORS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112)
RARE = 0.1  # share of specks in what is above the floor; measured: more rims are worth more than fewer specks
SHARP = 0.25  # pixels of a rim for each of the outline: with fewer, edges are not smoothed, and the rim is ringing
SAMPLE = 1 << 20  # pixels that the most frequent colours are looked for in
FLAT = 5  # pixels: side of the squares that a flat background is made of


@dataclass(frozen=True, eq=False)
class Marks:
    """What a mask marks.

    Attributes:
        hole: (H, W) bool, True where the picture is to be filled.
        found: what was taken for the marks, where it is not simply white; else empty.
    """

    hole: np.ndarray
    found: str = ""


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
    is transparent; what is not black, if there is black; what is not of the one flat colour around. Transparent counts
    as black where black and white are painted on it.

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
    if alpha is not None and alpha.min() == alpha.max() > 0:
        alpha = None
    if threshold is not None:
        light = _levels(_light(pixels, alpha), up=False) >= threshold
        return Marks(~light if invert else light)
    if photo is not None and photo.shape[:2] == pixels.shape[:2]:
        visible = None if alpha is None else alpha > 0
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
        return marked(mask.pixels, mask.alpha, photo=photo, threshold=threshold)


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
    if threshold is None:
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


def noise_floor(paint: np.ndarray) -> int:
    """The level that ringing reaches around strokes: JPEG's, WebP's or AVIF's; 0 in a mask without.

    The rim of a stroke, soft or sharp, hangs together with its stroke. Ringing comes in specks that do not: the floor
    is the lowest level above which hardly any are left.

    Args:
        paint: (H, W) uint8, how far each pixel is from the background.
    """
    if (top := int(paint.max())) < CLEAR:
        return 0
    strong = paint > top // 2
    near = cv2.dilate(strong.astype(np.uint8), np.ones((2 * REACH + 1,) * 2, np.uint8)).astype(bool)
    if not any(_ringing(_specks(paint, floor, strong, near)[1]) for floor in FLOORS[:3]):
        return 0
    lowest = top // 2
    for floor in sorted((level for level in FLOORS if level < lowest), reverse=True):
        area, _ = _specks(paint, floor, strong, near)
        if area > RARE * np.count_nonzero((paint > floor) & ~strong):
            break
        lowest = floor
    rim = np.count_nonzero((paint > lowest) & ~strong)
    outline = np.count_nonzero(strong & (cv2.erode(strong.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0))
    return top // 2 if rim < SHARP * outline else lowest


def _specks(paint: np.ndarray, floor: int, strong: np.ndarray, near: np.ndarray) -> tuple[int, np.ndarray]:
    """The parts of what is above a floor that are near strokes and hang together with none: area and peaks (N,)."""
    count, labels = cv2.connectedComponents((paint > floor).astype(np.uint8), connectivity=4)
    alone = np.ones(count, bool)
    alone[0] = False
    for elsewhere in (strong, ~near):
        alone[np.flatnonzero(np.bincount(labels[elsewhere], minlength=count))] = False
    inside = alone[labels]
    peaks = np.zeros(count, np.uint8)
    np.maximum.at(peaks, labels[inside], paint[inside])
    return int(np.count_nonzero(inside)), peaks[alone]


def _ringing(peaks: np.ndarray) -> bool:
    """Whether specks are of many heights, and a good part of them faint: dabs of a brush near a stroke are not."""
    if not len(peaks):
        return False
    return bool(peaks.max() <= 4 or (len(np.unique(peaks)) > 2 and np.mean(peaks <= DARK) >= 0.3))


def _strokes_on_copy(mask: np.ndarray, photo: np.ndarray, visible: np.ndarray | None) -> np.ndarray | None:
    """Where a copy of the photo differs from it; None if it is no copy.

    Most of what stands out from the photo's most frequent colour has to be in the copy: else a dark photo would pass
    for a copy of a black mask.
    """
    difference, outline = np.empty(mask.shape[:2], np.uint8), np.empty(mask.shape[:2], np.uint8)
    [ground], _ = _frequent(photo, 1)
    for rows in _bands(mask):
        difference[rows] = _distance(_colours(mask[rows]), _colours(photo[rows]))
        outline[rows] = _distance(_colours(photo[rows]), ground)
    stands_out = outline > 16
    if visible is not None:
        stands_out &= visible
    if not stands_out.any():
        return None
    same = difference[stands_out] <= outline[stands_out] // 4
    if same.mean() < 0.5:
        return None
    if visible is not None:
        raise RestoreError("is the picture with parts erased; give it as the picture, with --mask alpha")
    strokes = _above_noise(difference)
    if not strokes.any():
        raise RestoreError(f"is the picture itself with nothing painted on it; a mask is {LOOKS}")
    return strokes


def _above_noise(difference: np.ndarray) -> np.ndarray:
    """The strokes in the difference of two pictures, one of which may have been compressed."""
    top = int(difference.max())
    strong = difference > top // 2
    far = cv2.dilate(strong.astype(np.uint8), np.ones((2 * REACH + 1,) * 2, np.uint8)) == 0
    if np.count_nonzero(difference) <= 0.5 * difference.size and (not far.any() or np.median(difference[far]) == 0):
        return difference > noise_floor(difference)
    if top < CLEAR:
        return np.zeros(difference.shape, bool)
    return difference > max(noise_floor(difference), min(int(difference[far].max(initial=0)), top // 2))


def _black_and_white(painted: np.ndarray) -> bool:
    """Whether what is painted on transparent, (N[, 3]), is itself black with white on it."""
    light = _levels(painted, up=False)
    if light.ndim == 2:
        if np.mean(np.ptp(light, axis=1) > DARK) > 0.01:
            return False
        light = light.max(1)
    return bool(np.mean(light <= DARK) >= 0.05 and np.mean(light >= 255 - DARK) >= 0.001)


def _on_transparent(pixels: np.ndarray, alpha: np.ndarray, invert: bool) -> Marks:
    """Strokes of any colour on transparent."""
    colours, share = _frequent(pixels[alpha > 0][:, None], 8)
    if np.mean(alpha > 0) > 0.5 and share < 0.75:
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
    ground = colours[0] if black is None else black
    if grey and invert and black is not None:
        ground = np.full_like(ground, _lightest(pixels))
    distance = _distances(pixels, ground)
    _check_flat(pixels, distance, colours)
    paint = _levels(distance, up=True)
    hole = paint > noise_floor(paint)
    if not grey or black is None:
        return Marks(~hole if invert else hole, "strokes on a flat background" if hole.any() else "")
    top = int(distance.max())
    return Marks(hole, f"largest value {top} of {full}" if 2 * top < full and not invert else "")


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
    flat = cv2.erode(ground.astype(np.uint8), np.ones((FLAT, FLAT), np.uint8))
    if flat.mean() >= 0.2:
        return
    # of black and white nothing may be flat where they are spread finely, and compressed
    close = 3 * DARK // 2 if ground.mean() > 0.05 and _levels(distance, up=True).max() > 255 - DARK else 0
    few = np.zeros(distance.shape, bool)
    for colour in colours[:2] if close else colours:
        few |= _levels(_distances(pixels, colour), up=True) <= close
    if few.mean() < 0.75:
        raise RestoreError(
            f"can't tell its marks: many colours and no flat background; a mask is {LOOKS}; "
            "or say with --mask-threshold from which level on it is marked"
        )


def _black(pixels: np.ndarray, ground: np.ndarray, grey: bool) -> np.ndarray | None:
    """The colour that passes for black; None if there is none, or so little that it is painted on another."""
    level = int(_levels(ground, up=False).max())
    share = 0.0 if grey and not CLEAR <= level <= 255 - DARK else 0.25
    sample = _sample(pixels)
    for limit in (0, DARK):
        dark = sample[_levels(sample, up=True).max(1) <= limit]
        if len(dark) >= max(share * len(sample), 1):
            values, counts = np.unique(dark, axis=0, return_counts=True)
            return values[counts.argmax()]
    return None


def _lightest(pixels: np.ndarray) -> int:
    """The value of what is white in a mask: its largest that is frequent, as ringing overshoots."""
    values, counts = np.unique(_sample(pixels).max(1), return_counts=True)
    return int(values[counts >= 0.25 * counts[values > values.max() // 2].max()].max())


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
    for rows in _bands(pixels):
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
    for rows in _bands(pixels):
        out[rows] = _distance(_colours(pixels[rows]), colour)
    return out


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest difference in a channel."""
    return np.abs(a.astype(np.int32) - b).max(-1)


def _colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3)."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _levels(values: np.ndarray, *, up: bool) -> np.ndarray:
    """uint8 of uint8 or uint16 values, rounded down, or up so that no value but 0 becomes 0."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 255 * up) >> 8).clip(max=255).astype(np.uint8)


def _bands(pixels: np.ndarray) -> Iterator[slice]:
    """Rows in parts of about a million pixels: differences of the whole would take many times its memory."""
    step = max(1, SAMPLE // pixels.shape[1])
    return (slice(top, min(top + step, len(pixels))) for top in range(0, len(pixels), step))
