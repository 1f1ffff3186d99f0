"""Removes compression errors around the strokes of a mask: ringing and chroma bleeding, estimated from the mask."""

import cv2
import numpy as np

# All pixel values are 8-bit.
CLEAR = 64  # fainter paint cannot be told from ringing
FAINT = 32  # many specks of ringing peak below this
REACH = 16  # pixels: the largest distance of ringing from an edge, with halved chroma
FLOORS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112)
RARE = 0.1  # the largest share of specks above the floor; tuned: keeping rims matters more than removing specks
SHARP = 0.25  # rim pixels per outline pixel: with fewer, edges are not smoothed, and the rim is ringing

ALIKE = 24  # the largest difference that counts as compression error
BLEEDING = 3  # pixels: halved chroma bleeds no further
COLOURED = 0.35  # the largest share of the paint's chroma in bleeding
BY_LUMA = 6  # times the noise: paint that differs by more in luma is recognised by luma alone
GAP = 5  # pixels: a smaller gap in a stroke is filled where the paint could not be seen


def noise_floor(paint: np.ndarray) -> int:
    """Estimates the largest value of ringing around strokes, from JPEG, WebP or AVIF; 0 if there is no ringing.

    The rim of a stroke, soft or sharp, is connected to its stroke. Ringing comes in specks that are not: the floor is
    the lowest value above which hardly any specks are left.

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
    for floor in sorted((value for value in FLOORS if value < lowest), reverse=True):
        area, _ = _specks(paint, floor, strong, near)
        if area > RARE * np.count_nonzero((paint > floor) & ~strong):
            break
        lowest = floor
    rim = np.count_nonzero((paint > lowest) & ~strong)
    outline = np.count_nonzero(strong & (cv2.erode(strong.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0))
    return top // 2 if rim < SHARP * outline else lowest


def _specks(paint: np.ndarray, floor: int, strong: np.ndarray, near: np.ndarray) -> tuple[int, np.ndarray]:
    """Finds the specks above a floor that are near strokes but connected to none: total area and peaks (N,)."""
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
    """Whether the specks have many heights and many of them are faint, unlike dabs of a brush near a stroke."""
    if not len(peaks):
        return False
    return bool(peaks.max() <= 4 or (len(np.unique(peaks)) > 2 and np.mean(peaks <= FAINT) >= 0.3))


def without_bleeding(strokes: np.ndarray, copy: np.ndarray, photo: np.ndarray, *, flat: bool) -> np.ndarray:
    """Removes chroma bleeding around strokes, caused by chroma subsampling, and fills gaps in strokes.

    Luma does not bleed: where the paint is lighter or darker than the photo, pixels with a difference in luma are
    painted, and their neighbours with a weaker difference of the same sign. Elsewhere a rim of weak chroma is not
    painted. A gap is filled if it has the colour of the paint.

    Args:
        strokes: (H, W) bool, where the two differ by more than the noise.
        copy: (H, W, 3) uint8, with the strokes.
        photo: (H, W, 3) uint8, without the strokes.
        flat: whether the photo is one colour. If it is black or white, bleeding also changes luma; in a picture, black
            or white may be the damage itself, under faint paint.
    """
    if not strokes.any():
        return strokes
    colours, labels = _paint(strokes, copy, photo)
    noise, low = _noise_near(strokes, copy, photo)
    below, paint = photo[strokes], colours[labels[strokes]]
    own, full = _differences(copy[strokes], below), _differences(paint, below)
    clipped = np.abs(_clipped(below, full)) if flat else 0
    coloured = (own[:, 1:] * full[:, 1:]).sum(1) > COLOURED * (full[:, 1:] ** 2).sum(1)
    by_luma = np.abs(full[:, 0]) > BY_LUMA * noise + clipped
    kept = np.zeros_like(strokes)
    kept[strokes] = (np.abs(own[:, 0]) > noise + clipped) | (coloured & ~by_luma)
    kept[strokes] |= _widened(kept, 1)[strokes] & (own[:, 0] * np.sign(full[:, 0]) > low + clipped)
    closed = cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    gaps = closed.astype(bool) & ~kept
    kept[gaps] = np.abs(copy[gaps].astype(np.int16) - colours[labels[gaps]]).max(1) <= ALIKE
    return kept


def _paint(strokes: np.ndarray, copy: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours of paint, (N, 3), and the index of the nearest one for each pixel, (H, W).

    They are taken from strokes where the difference is a local maximum.
    """
    difference = cv2.absdiff(copy, photo).max(2)
    pure = strokes & (difference >= 0.9 * cv2.dilate(difference, np.ones((2 * BLEEDING + 1,) * 2, np.uint8)))
    if not pure.any():
        pure = strokes
    _, labels = cv2.distanceTransformWithLabels(
        (~pure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    colours[labels[pure]] = copy[pure]
    return colours, labels


def _ycc(colours: np.ndarray) -> np.ndarray:
    """Luma and both chroma channels of colours (N, 3) uint8."""
    return cv2.cvtColor(colours[:, None], cv2.COLOR_RGB2YCrCb)[:, 0].astype(np.int32)


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The differences between colours (N, 3) uint8 in luma and both chroma channels."""
    return _ycc(a) - _ycc(b)


def _clipped(photo: np.ndarray, full: np.ndarray) -> np.ndarray:
    """The change in luma where the paint's chroma bleeds, caused by clipping to black and white.

    Args:
        photo: colours, (N, 3) uint8.
        full: the paint's differences from them, see `_differences`.
    """
    bled = _ycc(photo)
    bled[:, 1:] = np.clip(bled[:, 1:] + COLOURED * full[:, 1:], 0, 255)
    seen = cv2.cvtColor(bled.astype(np.uint8)[:, None], cv2.COLOR_YCrCb2RGB)[:, 0]
    return _differences(seen, photo)[:, 0]


def _noise_near(strokes: np.ndarray, copy: np.ndarray, photo: np.ndarray) -> tuple[float, float]:
    """The 95th (plus 1) and 75th percentiles of the difference in luma between copy and photo, close to strokes."""
    near = _widened(strokes, 4) & ~_widened(strokes, 1)
    if not near.any():
        return ALIKE, ALIKE
    light = np.abs(_differences(copy[near], photo[near])[:, 0])
    return float(np.percentile(light, 95)) + 1, float(np.percentile(light, 75))


def _widened(marked: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(marked.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)).astype(bool)
