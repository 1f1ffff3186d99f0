"""CMYK JPEGs: they are restored in CMYK and converted to sRGB afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import RestoreError
from .channels import to_srgb
from .reading import MAX_PIXELS, file_contents, opened
from .silenced import libraries_silenced, pillow_silenced


@dataclass(frozen=True, eq=False)
class Inks:
    """The channels of a CMYK picture, inverted: 255 is no ink."""

    colours: np.ndarray
    """(H, W, 3) uint8, cyan, magenta and yellow: RGB where there is no black."""
    black: np.ndarray
    """(H, W) uint8."""
    icc: bytes | None = None
    """CMYK colour profile."""

    def srgb(self) -> np.ndarray:
        """Converts to sRGB, (H, W, 3) uint8, as `read` does."""
        light = np.dstack([self.colours, self.black])
        return to_srgb(Image.fromarray(255 - light, "CMYK"), self.icc)


def read_inks(path: str | Path, *, max_pixels: int = MAX_PIXELS, data: bytes | None = None) -> Inks:
    """Reads the channels of a CMYK JPEG as stored: orientation is not applied. The arguments are those of `read`.

    Raises:
        RestoreError: the file does not exist, or it is not a CMYK picture.
    """
    data = file_contents(path) if data is None else data
    with pillow_silenced(), libraries_silenced(), opened(BytesIO(data), max_pixels) as image:
        if image.mode != "CMYK":
            raise RestoreError(f"{path}: is {image.mode}, not CMYK; use images.read")
        light = 255 - np.asarray(image)
        icc = image.info.get("icc_profile") or None
    return Inks(np.ascontiguousarray(light[..., :3]), np.ascontiguousarray(light[..., 3]), icc)
