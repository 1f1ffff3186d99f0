"""Converts PIL images of every mode to tensors, and back to the same mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import RestoreError
from ..images import file_coefficients
from ..images.metadata import carried
from .arguments import COEFFICIENTS
from .arrays import FromTensor, to_tensor

CONVERSIONS = {
    "La": 'image.convert("LA")',
    "RGBa": 'image.convert("RGBA")',
    "CMYK": "bcm_restore.images.read(path).pixels, which applies its profile",
    "LAB": "PIL.ImageCms.profileToProfile(...), or bcm_restore.images.read(path).pixels",
}
_SIXTEEN_BITS = 65535


def from_pil(image: Image.Image) -> tuple[Tensor, FromTensor]:
    """`arrays.to_tensor` for a PIL image, see `pil_array`."""
    pixels, to_pil = pil_array(image)
    tensor, from_tensor = to_tensor(pixels)
    return tensor, lambda result: to_pil(from_tensor(result))


def pil_array(image: Image.Image) -> tuple[np.ndarray, Callable[[np.ndarray], Image.Image]]:
    """The pixels of a PIL image (H, W[, 3]), and the function that converts such an array to an image of its mode.

    Grey (L, LA), RGB and RGBA keep their mode, as do I;16 (in any byte order), I (0 to 65535) and F (0 to 1). Black
    and white (1) becomes L, palettes (P, PA) become RGB or RGBA. The alpha channel is resized with the picture;
    profile, resolution and EXIF are kept in `info`.

    Raises:
        RestoreError: the mode is not supported, or integers are outside 0 to 65535.
    """
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        pixels, alpha, make = _numbers(image), None, _maker(image.mode)
    elif image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        grey = image.mode in ("1", "L", "LA")
        pixels, alpha, make = np.asarray(image.convert("L" if grey else "RGB")), _alpha(image, grey), Image.fromarray
    else:
        way = CONVERSIONS.get(image.mode, 'image.convert("RGB")')
        raise RestoreError(f"PIL images of mode {image.mode} are not supported; give {way}")
    info = carried(image)

    def to_pil(result: np.ndarray) -> Image.Image:
        restored = make(result)
        if alpha is not None:
            restored.putalpha(alpha.resize(restored.size, Image.Resampling.BICUBIC))
        restored.info.update(info(restored.size))
        return restored

    return pixels, to_pil


def _alpha(image: Image.Image, grey: bool) -> Image.Image | None:
    """The transparency from a channel, a palette or a transparent colour; None if the image has none."""
    if "A" in image.getbands():
        return image.getchannel("A")
    if not image.has_transparency_data:
        return None
    return image.convert("LA" if grey else "RGBA").getchannel("A")


def _numbers(image: Image.Image) -> np.ndarray:
    """(H, W) uint16 or float32."""
    values = np.asarray(image)
    if image.mode == "F":
        return values
    if values.size and not (values.min() >= 0 and values.max() <= _SIXTEEN_BITS):
        raise RestoreError(
            f"the integers of this PIL image (mode {image.mode}) range from {values.min()} to {values.max()}; "
            f"scale them to 0 to {_SIXTEEN_BITS}"
        )
    return values.astype(np.uint16)


def _maker(mode: str) -> Callable[[np.ndarray], Image.Image]:
    """The function that converts an array (H, W) of uint16 or floats to an image of that mode."""
    kind = np.asarray(Image.new(mode, (1, 1))).dtype

    def make(pixels: np.ndarray) -> Image.Image:
        return Image.frombytes(mode, pixels.shape[::-1], pixels.astype(kind).tobytes())

    return make


def with_coefficients(image: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Adds the coefficients of the JPEG file that a PIL image was opened from, if it is known and none are given."""
    if not isinstance(image, Image.Image) or inputs.get(COEFFICIENTS) is not None:
        return inputs
    found = file_coefficients(image)
    return inputs if found is None else {**inputs, COEFFICIENTS: found}
