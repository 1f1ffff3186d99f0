"""PIL images and the files that they come from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from .encoding import as_image
from .jpeg import JpegCoefficients, jpeg_coefficients
from .metadata import current_exif
from .picture import Picture
from .reading import read
from .stale import fresh_xmp


def to_pil(picture: Picture) -> Image.Image:
    """Converts a picture to a PIL image of 8 bits, or of 16 if it is grey without transparency.

    Profile, resolution, EXIF and XMP are in its `info`.
    """
    deep = picture.pixels.dtype == np.uint16 and picture.pixels.ndim == 2 and picture.alpha is None
    image = Image.fromarray(picture.pixels) if deep else as_image(picture)
    info = {
        "icc_profile": picture.icc,
        "dpi": picture.dpi,
        "exif": current_exif(picture.exif, picture.orientation, picture.size),
        "xmp": picture.xmp and fresh_xmp(picture.xmp, picture.orientation, picture.size),
    }
    image.info.update({name: value for name, value in info.items() if value})
    return image


def file_coefficients(image: Image.Image) -> JpegCoefficients | None:
    """Reads the coefficients of the JPEG file that a PIL image was opened from.

    None if it was not, or if the file can no longer be read or has other pixels than the image.
    """
    if not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    file = image.fp
    try:
        data = _file_of(image)
        most = 2 * image.width * image.height  # progressive files count 1.5 times
        same = np.array_equal(read("", upright=False, max_pixels=most, data=data).pixels, np.asarray(image))
        return jpeg_coefficients("", max_pixels=most, data=data) if same else None
    except (OSError, ValueError):
        return None
    finally:
        if file is not None and not file.closed:  # Pillow drops it with the first access to the pixels
            image.fp = file


def _file_of(image: JpegImageFile) -> bytes:
    if image.fp is None or image.fp.closed:
        return Path(os.fsdecode(image.filename)).read_bytes()
    start = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(start)
    return data
