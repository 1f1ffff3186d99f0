"""Picture files in and out: orientation, transparency, colour profiles, 16 bit, JPEG coefficients.

Everything that can go wrong with a file is a `RestoreError` of one line that names the file and the way out.
"""

from .jpeg import JpegCoefficients, jpeg_coefficients
from .picture import Picture, as_depth, resized
from .reading import MAX_PIXELS, SUFFIXES, declared_pixels, file_contents, is_image, read
from .writing import encoded, output_format, write, write_animation

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
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
    "resized",
    "write",
    "write_animation",
]
