"""PIL images of every mode to tensors, and back to the same mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import RestoreError
from ..images.metadata import carried
from .arrays import Back, to_tensor

WAYS_OUT = {
    "La": 'image.convert("LA")',
    "RGBa": 'image.convert("RGBA")',
    "CMYK": "bcm_restore.images.read(path).pixels, which knows its profile",
    "LAB": "PIL.ImageCms.profileToProfile(...), or bcm_restore.images.read(path).pixels",
}
_SIXTEEN_BITS = 65535


def from_pil(image: Image.Image) -> tuple[Tensor, Back]:
    """What `arrays.to_tensor` gives for a PIL image, see `pil_array`."""
    pixels, to_pil = pil_array(image)
    tensor, back = to_tensor(pixels)
    return tensor, lambda result: to_pil(back(result))


def pil_array(image: Image.Image) -> tuple[np.ndarray, Callable[[np.ndarray], Image.Image]]:
    """The pixels of a PIL image (H, W[, 3]), and the function that turns such an array into an image of its mode.

    Grey (L, LA), RGB and RGBA come back in their own mode, as do I;16 (in any byte order), I (0 to 65535) and F (0 to
    1). Black and white (1) comes back as L, palettes (P, PA) as RGB or RGBA. The alpha channel is resized with the
    picture; profile, resolution and EXIF come back in `info`.

    Raises:
        RestoreError: another mode, or integers outside 0 to 65535.
    """
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        pixels, alpha, make = _numbers(image), None, _maker(image.mode)
    elif image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        grey = image.mode in ("1", "L", "LA")
        pixels, alpha, make = np.asarray(image.convert("L" if grey else "RGB")), _alpha(image, grey), Image.fromarray
    else:
        way = WAYS_OUT.get(image.mode, 'image.convert("RGB")')
        raise RestoreError(f"PIL images of mode {image.mode} are not restored; give {way}")
    info = carried(image)

    def to_pil(result: np.ndarray) -> Image.Image:
        restored = make(result)
        if alpha is not None:
            restored.putalpha(alpha.resize(restored.size, Image.Resampling.BICUBIC))
        restored.info.update(info(restored.size))
        return restored

    return pixels, to_pil


def _alpha(image: Image.Image, grey: bool) -> Image.Image | None:
    """The transparency of a channel, of a palette or of one colour; None where there is none."""
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
            f"the integers of this PIL image (mode {image.mode}) go from {values.min()} to {values.max()}; "
            f"scale them to 0 to {_SIXTEEN_BITS}"
        )
    return values.astype(np.uint16)


def _maker(mode: str) -> Callable[[np.ndarray], Image.Image]:
    """What makes an image of that mode of an array (H, W) of uint16 or floats."""
    kind = np.asarray(Image.new(mode, (1, 1))).dtype

    def make(pixels: np.ndarray) -> Image.Image:
        return Image.frombytes(mode, pixels.shape[::-1], pixels.astype(kind).tobytes())

    return make
