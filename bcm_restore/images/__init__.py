"""Reads and writes picture files: orientation, transparency, colour profiles, 16 bits, JPEG coefficients.

Every problem with a file raises a `RestoreError` of one line that names the file and the fix.
"""

from .inks import Inks, read_inks
from .jpeg import JpegCoefficients, jpeg_coefficients
from .kinds import SUFFIXES, is_foreign, is_image, starts_as_image, unread
from .pages import Pages, page_count
from .picture import Picture, Timing, as_depth, resized
from .pil import file_coefficients, to_pil
from .reading import MAX_PIXELS, declared_pixels, file_contents, read
from .writing import encoded, file_pages, output_format, write, write_animation

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Inks",
    "JpegCoefficients",
    "Pages",
    "Picture",
    "Timing",
    "as_depth",
    "declared_pixels",
    "encoded",
    "file_coefficients",
    "file_contents",
    "file_pages",
    "is_foreign",
    "is_image",
    "jpeg_coefficients",
    "output_format",
    "page_count",
    "read",
    "read_inks",
    "resized",
    "starts_as_image",
    "to_pil",
    "unread",
    "write",
    "write_animation",
]
