"""Ringing around the strokes of a compressed mask: its largest value, estimated from the mask itself."""

import cv2
import numpy as np

# All pixel values are 8-bit.
CLEAR = 64  # fainter paint cannot be told from ringing
FAINT = 32  # many specks of ringing peak below this
REACH = 16  # pixels: the largest distance of ringing from an edge, with halved chroma
FLOORS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112)
RARE = 0.1  # share of specks above the floor; measured: more rims are worth more than fewer specks
SHARP = 0.25  # rim pixels per outline pixel: with fewer, edges are not smoothed, and the rim is ringing


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
