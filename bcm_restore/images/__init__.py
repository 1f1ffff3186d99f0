"""Picture files in and out: orientation, transparency, colour profiles, 16 bit, JPEG coefficients.

Everything that can go wrong with a file is a `RestoreError` of one line that names the file and the way out.
"""

from .inks import Inks, read_inks
from .jpeg import JpegCoefficients, jpeg_coefficients
from .picture import Picture, as_depth, resized
from .reading import MAX_PIXELS, SUFFIXES, declared_pixels, file_contents, is_image, read, read_mask
from .writing import encoded, output_format, write, write_animation

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Inks",
    "JpegCoefficients",
    "Picture",
    "as_depth",
    "declared_pixels",
    "encoded",
    "file_contents",
    "is_image",
    "jpeg_coefficients",
    "output_format",
    "read",
    "read_inks",
    "read_mask",
    "resized",
    "write",
    "write_animation",
]
