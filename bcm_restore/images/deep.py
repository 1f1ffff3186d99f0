"""Colour pictures of 16 bits a channel, which Pillow reads as 8."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from ..errors import RestoreError
from .quiet import mute

_TIFF_BITS, _TIFF_PLANAR = 258, 284


def deep_layout(image: Image.Image) -> str | None:
    """Channels of a 16-bit colour (or grey and alpha) file: LA, RGB, RGBA, RGBX, RGBa (premultiplied); None for others.

    `image` is opened and not yet loaded. Raises RestoreError for channels in separate planes, which neither Pillow nor
    OpenCV reads right.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_PLANAR) == 2 and max(tags.get(_TIFF_BITS, (8,))) == 16:
        raise RestoreError("its 16-bit channels are in separate planes; save it with interleaved channels, or as PNG")
    found = re.fullmatch("(LA|RGB|RGBA|RGBX|RGBa);16[LBN]", raw_mode(image))
    return found[1] if found else None


def raw_mode(image: Image.Image) -> str:
    """How an opened, not yet loaded file lays out its pixels, in Pillow's words; empty where Pillow does not say."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else None
    return str(args[0]) if isinstance(args, tuple) and args else str(args or "")


def decode_deep(data: bytes, layout: str, shallow: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of a file's bytes, uint16; RestoreError if they disagree with its 8-bit form, `shallow`."""
    import cv2

    with mute():
        # UNCHANGED: all bits, all channels, no orientation.
        decoded: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        raise RestoreError("its 16-bit pixels cannot be read: truncated or damaged; get the file again")
    pixels = decoded[..., 2::-1]
    alpha = decoded[..., 3] if layout in ("LA", "RGBA", "RGBa") else None
    last = pixels[..., 2] if alpha is None else alpha
    if not np.array_equal(last >> 8, np.asarray(shallow.getchannel(len(shallow.getbands()) - 1))):
        raise RestoreError("its 16-bit layout is an unusual one; save it again as PNG")
    if layout == "LA":
        pixels = pixels[..., 0]
    elif layout == "RGBa" and alpha is not None:
        straight = np.rint(pixels * (65535 / np.maximum(alpha, 1).astype(np.float64))[..., None])
        pixels = np.minimum(straight, 65535).astype(np.uint16)
    return pixels, alpha
