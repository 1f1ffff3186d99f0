"""Several pictures in one: side by side, in a row, in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from .picture import Picture


def side_by_side(before: Picture, after: Picture) -> Picture:
    """Both in one picture, `before` enlarged to the height of `after`."""
    coloured = 3 in (before.pixels.ndim, after.pixels.ndim)
    left, right = _planes(before, coloured), _planes(after, coloured)
    if left.shape[0] != right.shape[0]:
        width = max(round(left.shape[1] * right.shape[0] / left.shape[0]), 1)
        left = cv2.resize(left, (width, right.shape[0]), interpolation=cv2.INTER_CUBIC)
    both = np.concatenate([left, right], axis=1)
    colours, alpha = both[:, :, :-1], both[:, :, -1]
    transparent = before.alpha is not None or after.alpha is not None
    pixels = np.ascontiguousarray(colours[:, :, 0] if after.pixels.ndim == 2 else colours)
    return replace(after, pixels=pixels, alpha=np.ascontiguousarray(alpha) if transparent else None)


def _planes(picture: Picture, coloured: bool) -> np.ndarray:
    """(H, W, channels + 1): the pixels, in RGB if `coloured`, and how opaque they are."""
    opaque = np.full(picture.size, np.iinfo(picture.pixels.dtype).max, picture.pixels.dtype)
    channels = [picture.pixels] * (3 if coloured and picture.pixels.ndim == 2 else 1)
    return np.dstack([*channels, opaque if picture.alpha is None else picture.alpha])


def row(pictures: Sequence[Picture]) -> Picture:
    """Pictures of one size side by side: all of them have transparency, or none."""
    alphas = [picture.alpha for picture in pictures if picture.alpha is not None]
    pixels = np.concatenate([picture.pixels for picture in pictures], axis=1)
    return pictures[0].with_pixels(pixels, np.concatenate(alphas, axis=1) if alphas else None)


def grid(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (H, W, 3) uint8 in rows, about as many as there are columns; black where the last row ends early."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images[0].shape[:2]
    joined = np.zeros((rows * height, columns * width, 3), np.uint8)
    for n, image in enumerate(images):
        y, x = n // columns * height, n % columns * width
        joined[y : y + height, x : x + width] = image
    return joined
