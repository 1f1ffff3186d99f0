"""Pictures in four inks: JPEGs of print, which are restored as they are and become sRGB afterwards."""

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
    """A CMYK picture, its inks as light: 255 is paper."""

    colours: np.ndarray
    """(H, W, 3) uint8 of cyan, magenta and yellow: without black ink, RGB."""
    black: np.ndarray
    """(H, W) uint8."""
    icc: bytes | None = None
    """Colour profile of the four."""

    def srgb(self) -> np.ndarray:
        """(H, W, 3) uint8, as `read` makes it."""
        light = np.dstack([self.colours, self.black])
        return to_srgb(Image.fromarray(255 - light, "CMYK"), self.icc)


def read_inks(path: str | Path, *, max_pixels: int = MAX_PIXELS, data: bytes | None = None) -> Inks:
    """The inks of a CMYK JPEG, as stored: orientation is not applied. The arguments are those of `read`.

    Raises:
        RestoreError: there is no such file, or it is no CMYK picture.
    """
    data = file_contents(path) if data is None else data
    with pillow_silenced(), libraries_silenced(), opened(BytesIO(data), max_pixels) as image:
        if image.mode != "CMYK":
            raise RestoreError(f"{path}: is {image.mode}, not CMYK; read it as any other picture")
        light = 255 - np.asarray(image)
        icc = image.info.get("icc_profile") or None
    return Inks(np.ascontiguousarray(light[..., :3]), np.ascontiguousarray(light[..., 3]), icc)
