"""Fully transparent pixels are unknown: their hidden colours do not influence visible pixels."""

import cv2
import numpy as np
from PIL import Image

from ..fill import known_means
from ..spans import bands
from .arrays import AnyImage


def without_hidden(image: AnyImage, hole: np.ndarray | None = None) -> AnyImage:
    """Fills the fully transparent pixels of a PIL image from visible ones; returns other images unchanged.

    Args:
        image: of any type.
        hole: (H, W) bool, pixels that are also unknown.
    """
    if not isinstance(image, Image.Image) or "A" not in image.getbands():
        return image
    alpha = image.getchannel("A")
    pixels = np.asarray(image.convert("L" if image.mode == "LA" else "RGB"))
    filled = fill_hidden(pixels, np.asarray(alpha), hole)
    if filled is pixels:
        return image
    out = Image.fromarray(filled)
    out.putalpha(alpha)
    out.info.update(image.info)
    return out


def fill_hidden(pixels: np.ndarray, alpha: np.ndarray | None, hole: np.ndarray | None = None) -> np.ndarray:
    """Fills fully transparent pixels with averages of visible pixels around them.

    Args:
        pixels: (H, W[, 3]) uint8 or uint16.
        alpha: (H, W), 0 where a pixel is transparent; None: nowhere.
        hole: (H, W) bool, pixels that are also unknown; they are not filled.

    Returns:
        A copy, or `pixels` itself if no pixel is hidden or none is visible.
    """
    if alpha is None:
        return pixels
    hidden = alpha == 0
    unknown = hidden if hole is None else hidden | hole
    if hole is not None:
        hidden &= ~hole
    if not hidden.any() or unknown.all():
        return pixels
    out = pixels.copy()
    np.copyto(out, _filled(pixels, unknown), where=hidden.reshape(hidden.shape + (1,) * (pixels.ndim - 2)))
    return out


def _filled(pixels: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Averages of known pixels around each pixel: of near ones if there are any, else of more distant ones."""
    height, width = unknown.shape
    grid = (height + 1) // 2, (width + 1) // 2
    coarse, share = np.empty((*grid, 3), np.float32), np.empty(grid, np.float32)
    for rows in bands(grid):
        fine = slice(2 * rows.start, min(2 * rows.stop, height))
        part = np.broadcast_to(np.atleast_3d(pixels[fine]), (*unknown[fine].shape, 3)).astype(np.float32)
        coarse[rows], share[rows] = known_means(part, unknown[fine])
    solution = np.rint(_spread(coarse, share == 0)).astype(pixels.dtype)
    solution = solution if pixels.ndim == 3 else np.ascontiguousarray(solution[:, :, 0])
    return cv2.resize(solution, (width, height), interpolation=cv2.INTER_LINEAR)


def _spread(x: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Fills the unknown pixels of (h, w, 3) float32 from the image at half the size."""
    if not unknown.any():
        return x
    means, share = known_means(x, unknown)
    guess = cv2.resize(_spread(means, share == 0), unknown.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(unknown[..., None], guess, x)
