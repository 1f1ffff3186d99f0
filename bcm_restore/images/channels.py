"""From any of Pillow's modes to grey or RGB, and transparency."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from ..errors import RestoreError

_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
# PNG gives its transparent grey in the file's own bit depth, Pillow the pixels in 8 bits.
_KEY_SCALES = {"L;2": 85, "L;4": 17}
_BAND_PIXELS = 1 << 20


def split(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of a loaded image of any mode but CMYK and Lab; alpha is None where the mode has none."""
    mode = image.mode
    if mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        # Pillow inverts 8 bits for such a file, and forgets about 16.
        inverted = getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        return (np.uint16(65535) - values if inverted else values), None
    if mode in ("I", "F"):
        return _sixteen_bits(np.asarray(image)), None
    if mode in ("1", "L"):
        return _converted(image, "L")
    if mode in ("LA", "La"):
        return _converted(image, "LA")
    if mode in ("RGBA", "RGBa", "PA") or (mode == "P" and image.has_transparency_data):
        return _converted(image, "RGBA")
    return _converted(image, "RGB")


def bands(size: tuple[int, int]) -> Iterator[slice]:
    """The rows of a picture of `size` = (height, width) in parts of about a million pixels."""
    step = max(1, _BAND_PIXELS // size[1])
    return (slice(top, min(top + step, size[0])) for top in range(0, size[0], step))


def _converted(image: Image.Image, mode: Literal["L", "LA", "RGB", "RGBA"]) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of an image in another mode, band by band: Pillow's own copies are three of the whole."""
    width, height = image.size
    pixels = np.empty((height, width, 3) if mode.startswith("RGB") else (height, width), np.uint8)
    alpha = np.empty((height, width), np.uint8) if mode.endswith("A") else None
    for rows in bands((height, width)):
        band = np.asarray(image.crop((0, rows.start, width, rows.stop)).convert(mode))
        if alpha is None:
            pixels[rows] = band
        else:
            pixels[rows] = band[..., :-1].reshape(pixels[rows].shape)
            alpha[rows] = band[..., -1]
    return pixels, alpha


def keyed_alpha(pixels: np.ndarray, key: object, rawmode: str) -> np.ndarray | None:
    """Alpha of a picture with one transparent colour, the grey or RGB `key` in Pillow's "transparency"; or None."""
    if isinstance(key, int) and pixels.ndim == 2:
        clear = pixels == (255 * bool(key) if rawmode == "1" else key * _KEY_SCALES.get(rawmode, 1))
    elif isinstance(key, tuple) and pixels.ndim == 3 and len(key) == 3:
        clear = (pixels == np.array(key)).all(axis=-1)
    else:
        return None
    return np.where(clear, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """A CMYK or Lab image as sRGB: by the profile where it is one of that kind, by Pillow's plain formula otherwise."""
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        return _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), srgb)
    try:
        return _transformed(image, ImageCms.ImageCmsProfile(BytesIO(icc or b"")), srgb)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image.convert("RGB")


def _transformed(image: Image.Image, source: ImageCms.ImageCmsProfile, srgb: ImageCms.core.CmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    assert converted is not None  # None is for conversion in place
    return converted


def _sixteen_bits(values: np.ndarray) -> np.ndarray:
    """uint16 of 32-bit integers in 0 to 65535, or of floats in 0 to 1."""
    whole = values.dtype.kind != "f"
    top = 65535 if whole else 1
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):  # so written that NaN is refused
        kind = "integers" if whole else "floats"
        raise RestoreError(f"its 32-bit {kind} go from {low:.5g} to {high:.5g}; scale them to 0 to {top}")
    return np.rint(values.astype(np.float64) * (65535 / top)).astype(np.uint16)
