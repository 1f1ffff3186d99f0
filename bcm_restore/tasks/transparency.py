"""Fully transparent pixels are unknown: whatever colour they hide has no say in the visible ones."""

import numpy as np
import torch
from PIL import Image

from .. import rasters
from ..rasters import Raster
from .arrays import AnyImage, from_raster, to_raster, to_tensor
from .fill import smooth_fill
from .giant_fill import fill_raster


def without_hidden(image: AnyImage, hole: np.ndarray | None = None) -> AnyImage:
    """A PIL image with the colours under its transparency filled from the visible ones; anything else as it is.

    Args:
        image: of any kind.
        hole: (H, W) bool, pixels that are unknown as well.
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
    """Pixels whose fully transparent ones are filled from the visible ones, smoothly.

    Args:
        pixels: (H, W[, 3]) of a type that `to_tensor` takes.
        alpha: (H, W), 0 where a pixel is transparent; None: nowhere.
        hole: (H, W) bool, pixels that are unknown as well; they stay as they are.

    Returns:
        `pixels` themselves where nothing is hidden, or where nothing is visible.
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
    if unknown.size > rasters.LARGE:
        with Raster((unknown.shape[0], unknown.shape[1])) as raster:
            to_raster(pixels, raster)
            fill_raster(raster, unknown)
            return from_raster(raster, pixels)
    tensor, back = to_tensor(pixels)
    filled = smooth_fill(np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy()), unknown)
    return back(torch.from_numpy(filled).permute(2, 0, 1)[None])
