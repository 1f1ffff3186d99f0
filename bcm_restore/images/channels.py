"""Converts Pillow's modes to grey or RGB and alpha."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from .. import spans
from ..errors import RestoreError

_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
# PNG stores its transparent grey in the file's bit depth; Pillow returns pixels in 8 bits.
_KEY_SCALES = {"L;2": 85, "L;4": 17}
_BAND_PIXELS = 1 << 20


def split(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of a loaded image of any mode but CMYK and Lab; alpha is None if the mode has none."""
    mode = image.mode
    if mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        # Pillow inverts such files in 8 bits, but not in 16.
        inverted = getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        return (np.uint16(65535) - values if inverted else values), None
    if mode in ("I", "F"):
        return _sixteen_bits(image), None
    if mode in ("1", "L"):
        return _converted(image, "L")
    if mode in ("LA", "La"):
        return _converted(image, "LA")
    if mode in ("RGBA", "RGBa", "PA") or (mode == "P" and image.has_transparency_data):
        return _converted(image, "RGBA")
    return _converted(image, "RGB")


def bands(size: tuple[int, int]) -> Iterator[slice]:
    """Splits the rows of a picture of `size` = (height, width) into bands of about a million pixels."""
    return spans.bands(size, pixels=_BAND_PIXELS)


def _parts(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yields an image band by band, with the rows of each: on the whole, Pillow would make three copies."""
    width, height = image.size
    return ((rows, image.crop((0, rows.start, width, rows.stop))) for rows in bands((height, width)))


def _converted(image: Image.Image, mode: Literal["L", "LA", "RGB", "RGBA"]) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of an image after conversion to `mode`."""
    width, height = image.size
    pixels = np.empty((height, width, 3) if mode.startswith("RGB") else (height, width), np.uint8)
    alpha = np.empty((height, width), np.uint8) if mode.endswith("A") else None
    for rows, part in _parts(image):
        band = np.asarray(part.convert(mode))
        if alpha is None:
            pixels[rows] = band
        else:
            pixels[rows] = band[..., :-1].reshape(pixels[rows].shape)
            alpha[rows] = band[..., -1]
    return pixels, alpha


def keyed_alpha(pixels: np.ndarray, key: object, rawmode: str) -> np.ndarray | None:
    """The alpha of a picture with one transparent colour, the `key` in Pillow's "transparency"; or None."""
    if isinstance(key, int) and pixels.ndim == 2:
        clear = np.array([255 * bool(key) if rawmode == "1" else key * _KEY_SCALES.get(rawmode, 1)])
    elif isinstance(key, tuple) and pixels.ndim == 3 and len(key) == 3:
        clear = np.array(key)
    else:
        return None
    size = (pixels.shape[0], pixels.shape[1])
    alpha = np.full(size, np.iinfo(pixels.dtype).max, pixels.dtype)
    for rows in bands(size):
        alpha[rows][(pixels[rows].reshape(*alpha[rows].shape, -1) == clear).all(axis=-1)] = 0
    return alpha


def to_srgb(image: Image.Image, icc: bytes | None) -> np.ndarray:
    """Converts a CMYK or Lab image to sRGB, by its profile if that is usable, else by Pillow's simple formula."""
    convert = _srgb_transform(image.mode, icc)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows, part in _parts(image):
        pixels[rows] = np.asarray(convert(part))
    return pixels


def _srgb_transform(mode: str, icc: bytes | None) -> Callable[[Image.Image], Image.Image]:
    source = ImageCms.createProfile("LAB") if mode == "LAB" else BytesIO(icc or b"")
    try:
        profile = ImageCms.ImageCmsProfile(source)
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB").apply
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return lambda part: part.convert("RGB")


def _sixteen_bits(image: Image.Image) -> np.ndarray:
    """Converts 32-bit integers in 0 to 65535, or floats in 0 to 1, to uint16."""
    kind, top = ("integers", 65535) if image.mode == "I" else ("floats", 1)
    scaled = np.empty((image.height, image.width), np.uint16)
    ends = []
    for rows, part in _parts(image):
        values = np.asarray(part)
        ends += [values.min(), values.max()]
        with np.errstate(invalid="ignore"):
            scaled[rows] = np.rint(values.astype(np.float64) * (65535 / top))
    low, high = np.min(ends), np.max(ends)
    if not (low >= 0 and high <= top):  # written so that NaN is refused
        raise RestoreError(f"its 32-bit {kind} go from {low:.5g} to {high:.5g}; scale them to 0 to {top}")
    return scaled
