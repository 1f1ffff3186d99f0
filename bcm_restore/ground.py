"""Which colour of a black and white mask is its ground, by the shapes in it."""

import cv2
import numpy as np

MINOR = 0.25  # share of a mask that strokes cover at most
BORDER = 0.005  # share of the border that they cover at most: what is around them is the ground
LONG = 8  # times as long as wide: a stroke, not a piece of a picture that is to be kept
MOST = 0.75  # share of what is marked that strokes make up
SMALLEST = 32  # pixels: a smaller side shows no shapes


def strokes_on_white(light: np.ndarray) -> bool:
    """Whether a mask shows black strokes on white, and not what is to be kept of a picture.

    White is what is to be filled by convention, and may well be most of the picture: of known pixels, patches, boxes,
    lines across the picture or what broad strokes leave, some are black, but none has all that tells strokes on a white
    ground: little is black, hardly any of it is at the border, and nearly all of it is much longer than wide.

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
