"""The segments of a JPEG file, and checks against files that take very long to decode."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ..errors import RestoreError

START = b"\xff\xd8"
EOI, SOS = 0xD9, 0xDA

_SCAN = bytes([0xFF, SOS])
_FILL = re.compile(rb"\xff*")
# The first marker after the data of a scan: no stuffed zero, restart marker or fill byte.
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Pillow takes a microsecond for each segment and each fill byte of a header; real headers have dozens.
_MOST_SEGMENTS, _LONGEST_FILL = 10_000, 1 << 16
# Even an empty scan takes time in proportion to the picture's pixels; 200 megapixels may have 20 scans.
_MOST_SCANNED = 4_000_000_000
# The shortest code of an 8 x 8 block is one bit; a component has at least a fourth of the blocks.
_MOST_PIXELS_A_BYTE = 8 * 64 * 4


def segments(data: bytes, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yields (marker, segment including the marker) up to the end of the image that begins at `begin`.

    The segment of a scan includes its data.

    Raises IndexError or struct.error if `data` is not a JPEG.
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
    """Raises RestoreError, without the file's name, if the header of a JPEG would take very long to read."""
    end = data.find(_SCAN)
    if data.find(b"\xff" * _LONGEST_FILL, 0, end if end >= 0 else len(data)) >= 0:
        raise RestoreError("damaged: fill bytes instead of a header; get a new copy of the file")
    try:
        for count, (marker, _) in enumerate(segments(data)):
            if marker == SOS:
                return
            if count >= _MOST_SEGMENTS:
                raise RestoreError(f"has more than {_MOST_SEGMENTS} segments; save it again without its metadata")
    except (IndexError, struct.error):
        return  # the decoder reports the error


def check_scans(data: bytes, pixels: int) -> None:
    """Raises RestoreError, without the file's name, if a JPEG is too short for its `pixels` or has too many scans."""
    if pixels > _MOST_PIXELS_A_BYTE * len(data):
        raise RestoreError(f"truncated: {len(data)} bytes are too few for {pixels} pixels; get a new copy of the file")
    most = _MOST_SCANNED // pixels
    # The quick count includes thumbnails and data after the picture, which seldom matters.
    if data.count(_SCAN) > most and _scans(data) > most:
        raise RestoreError(f"has more than {most} scans of {pixels} pixels; save it again, or as PNG")


def has_separate_scans(data: bytes, components: int) -> bool:
    """Whether the first scan holds fewer than `components` components."""
    try:
        return next(segment[4] for marker, segment in segments(data) if marker == SOS) < components
    except (IndexError, StopIteration, struct.error):
        return False


def _scans(data: bytes) -> float:
    try:
        return sum(marker == SOS for marker, _ in segments(data))
    except (IndexError, struct.error):
        return float("inf")
