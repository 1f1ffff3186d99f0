"""Decides by shape whether a black and white mask shows black strokes on a white background."""

import cv2
import numpy as np

MINOR = 0.25  # the largest share of a mask that strokes cover
BORDER = 0.005  # the largest share of the border that strokes cover: the background surrounds them
LONG = 8  # the smallest ratio of length to width of a stroke; other shapes are parts of a picture to keep
MOST = 0.75  # the smallest share of black pixels in strokes
SMALLEST = 32  # pixels: in masks with a smaller side, shapes are not recognised


def strokes_on_white(light: np.ndarray) -> bool:
    """Whether a mask shows black strokes on white, as opposed to black pixels to keep.

    By convention white is filled, and may be most of the picture: the black rest may be single pixels, patches, boxes,
    lines across the picture or the gaps between broad strokes. Strokes on a white background differ from all of these:
    little is black, hardly any of it is at the border, and nearly all of it is in shapes much longer than wide.

    Args:
        light: (H, W) uint8, from black to white.
    """
    black = light < 192  # soft strokes as well
    border = np.concatenate([black[0], black[-1], black[1:-1, 0], black[1:-1, -1]])
    if min(light.shape) < SMALLEST or not 0 < black.mean() <= MINOR or border.mean() > BORDER:
        return False
    pieces = black.astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    half_width = np.zeros(count, np.float32)
    np.maximum.at(half_width, labels[black].astype(np.intp), cv2.distanceTransform(pieces, cv2.DIST_C, 3)[black])
    is_long = area >= LONG * (2 * half_width - 1) ** 2
    return bool(area[1:][is_long[1:]].sum() >= MOST * area[1:].sum())
