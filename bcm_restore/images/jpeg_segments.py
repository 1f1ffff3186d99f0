"""The segments of a JPEG file, and files made to keep a decoder busy."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ..errors import RestoreError

START = b"\xff\xd8"
EOI, SOS = 0xD9, 0xDA

_SCAN = bytes([0xFF, SOS])
_FILL = re.compile(rb"\xff*")
# The first marker behind the data of a scan: no stuffed zero, no restart marker, no fill byte.
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Pillow takes a microsecond for each segment and each fill byte of a header; real ones have dozens.
_MOST_SEGMENTS, _LONGEST_FILL = 10_000, 1 << 16
# A scan may be empty and takes as long as the picture is large; 200 megapixels may have 20 of them.
_MOST_SCANNED = 4_000_000_000
# The shortest code of a block of 8 x 8 pixels is a bit; chroma apart, a component has a fourth of the blocks at least.
_MOST_PIXELS_A_BYTE = 8 * 64 * 4


def segments(data: bytes, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """(marker, segment from the marker on) up to the end of the first image; the segment of a scan includes its data.

    The image begins at `begin`.

    Raises IndexError or struct.error where `data` is no JPEG.
    """
    start = begin + 2
    while True:
        filled = _FILL.match(data, start)
        start = max(filled.end() - 1, start) if filled else start
        marker = data[start + 1]
        if marker == EOI:
            return
        if data[start] != 0xFF:
            raise IndexError(start)
        end = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
        if marker == SOS:
            following = _AFTER_SCAN.search(data, end)
            end = following.start() if following else len(data)
        yield marker, data[start:end]
        start = end


def check_header(data: bytes) -> None:
    """Raises RestoreError, without the file's name, for a JPEG whose header alone would take long to read."""
    end = data.find(_SCAN)
    if data.find(b"\xff" * _LONGEST_FILL, 0, end if end >= 0 else len(data)) >= 0:
        raise RestoreError("damaged: fill bytes in place of a header; get the file again from where it came")
    try:
        for count, (marker, _) in enumerate(segments(data)):
            if marker == SOS:
                return
            if count >= _MOST_SEGMENTS:
                raise RestoreError(f"has more than {_MOST_SEGMENTS} segments; save it again without its metadata")
    except (IndexError, struct.error):
        return  # its decoder will say what is wrong


def check_scans(data: bytes, pixels: int) -> None:
    """Raises RestoreError, without the file's name, for a JPEG too short for its `pixels` or with too many scans."""
    if pixels > _MOST_PIXELS_A_BYTE * len(data):
        raise RestoreError(
            f"truncated: {len(data)} bytes are too few for {pixels} pixels; get the file again from where it came"
        )
    most = _MOST_SCANNED // pixels
    # Thumbnails and what follows the picture count as well at first, which is quick and seldom matters.
    if data.count(_SCAN) > most and _scans(data) > most:
        raise RestoreError(f"has more than {most} scans of {pixels} pixels; save it again, or as PNG")


def has_separate_scans(data: bytes, components: int) -> bool:
    """Whether the components of a picture, so many, do not all come with its first scan."""
    try:
        return next(segment[4] for marker, segment in segments(data) if marker == SOS) < components
    except (IndexError, StopIteration, struct.error):
        return False


def _scans(data: bytes) -> float:
    try:
        return sum(marker == SOS for marker, _ in segments(data))
    except (IndexError, struct.error):
        return float("inf")
