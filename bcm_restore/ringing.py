"""Ringing around the strokes of a mask that was compressed: how far up it reaches, found from the mask itself."""

import cv2
import numpy as np

# All levels are of 255.
CLEAR = 64  # paint that stands out from its background by less has no ringing to tell from it
FAINT = 32  # ringing reaches less in a good part of its specks
REACH = 16  # pixels: ringing is no further from an edge, with halved chroma
FLOORS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112)
RARE = 0.1  # share of specks in what is above the floor; measured: more rims are worth more than fewer specks
SHARP = 0.25  # pixels of a rim for each of the outline: with fewer, edges are not smoothed, and the rim is ringing


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
    return bool(peaks.max() <= 4 or (len(np.unique(peaks)) > 2 and np.mean(peaks <= FAINT) >= 0.3))
