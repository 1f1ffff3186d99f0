"""Colour pictures of 16 bits per channel, which Pillow reads as 8."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from ..errors import RestoreError
from .channels import bands
from .silenced import libraries_silenced

_TIFF_BITS, _TIFF_PLANAR = 258, 284


def sixteen_bit_layout(image: Image.Image) -> str | None:
    """Channels of a 16-bit colour (or grey and alpha) file: LA, RGB, RGBA, RGBX, RGBa (premultiplied); None for others.

    `image` is opened but not yet loaded. Raises RestoreError for channels in separate planes, which neither Pillow nor
    OpenCV reads correctly.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_PLANAR) == 2 and max(tags.get(_TIFF_BITS, (8,))) == 16:
        raise RestoreError("its 16-bit channels are in separate planes; save it with interleaved channels, or as PNG")
    found = re.fullmatch("(LA|RGB|RGBA|RGBX|RGBa);16[LBN]", raw_mode(image))
    return found[1] if found else None


def raw_mode(image: Image.Image) -> str:
    """Pillow's raw mode of an opened, not yet loaded file: its pixel layout; empty if unknown."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else None
    return str(args[0]) if isinstance(args, tuple) and args else str(args or "")


def decode_sixteen_bit(data: bytes, layout: str, eight_bit: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes a file's bytes to (pixels, alpha), uint16; RestoreError if they disagree with its 8-bit form.

    Closes `eight_bit` to free memory.
    """
    import cv2

    last = np.asarray(eight_bit.getchannel(len(eight_bit.getbands()) - 1))
    eight_bit.close()
    with libraries_silenced():
        # UNCHANGED: all bits, all channels, no orientation.
        decoded: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        raise RestoreError("its 16-bit pixels cannot be read: truncated or damaged; get a new copy of the file")
    transparent = layout in ("LA", "RGBA", "RGBa")
    if not _agree(decoded[..., 3 if transparent else 0], last):
        raise RestoreError("its 16-bit layout is unusual; save it again as PNG")
    alpha = decoded[..., 3].copy() if transparent else None
    if layout == "LA":
        return decoded[..., 0].copy(), alpha
    return _packed(decoded, alpha if layout == "RGBa" else None), alpha


def _agree(sixteen_bit: np.ndarray, eight_bit: np.ndarray) -> bool:
    if sixteen_bit.shape != eight_bit.shape:
        return False
    return all(
        np.array_equal(sixteen_bit[rows] >> 8, eight_bit[rows])
        for rows in bands((sixteen_bit.shape[0], sixteen_bit.shape[1]))
    )


def _packed(decoded: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Converts (H, W, 3 or 4) BGR or BGRA to RGB in the same memory; divides by `alpha` if given."""
    height, width = decoded.shape[:2]
    flat = decoded.reshape(-1)
    for rows in bands((height, width)):
        colours = decoded[rows][..., 2::-1]
        if alpha is not None:
            straight = np.rint(colours * (65535 / np.maximum(alpha[rows], 1).astype(np.float64))[..., None])
            colours = np.minimum(straight, 65535).astype(np.uint16)
        # A row never ends beyond its source, and flatten copies.
        flat[3 * width * rows.start : 3 * width * rows.stop] = colours.flatten()
    return flat[: 3 * width * height].reshape(height, width, 3)
