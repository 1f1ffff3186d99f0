"""Updates metadata that describe the old pixels: removes thumbnails and sets the new picture's size.

EXIF is patched in place, because maker notes do not survive parsing and rewriting.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from .jpeg_segments import EOI, START, segments

EXIF_PREFIX = b"Exif\x00\x00"
TIFF_MAGICS = (b"II*\x00", b"MM\x00*")

_EXIF_IFD = 0x8769
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_STARTS, _LENGTHS = (0x0111, 0x0201), (0x0117, 0x0202)  # of a thumbnail's data: strips, or a JPEG
_SHORT, _LONG = 3, 4
_MOST_PREVIEWS, _MOST_SEGMENTS = 50, 1000  # limits against EXIF crafted to take very long
_JPEG = re.compile(START + rb"\xff[\xc0-\xfe]")
# Parts of XMP that hold earlier pixels, or refer to data after the picture that is not kept.
_STALE_ELEMENTS = (b"xmp:Thumbnails", b"xap:Thumbnails", b"Container:Directory", b"GImage:Data", b"GDepth:Data")
_STALE_ATTRIBUTES = re.compile(
    rb"""\s(?:xmpNote:HasExtendedXMP|G(?:Image|Depth|Audio):\w+|GCamera:M(?:icroVideo|otionPhoto)\w*|hdrgm:\w+)"""
    rb"""\s*=\s*(?:"[^"]*"|'[^']*')"""
)


class Entry(NamedTuple):
    """One entry of a directory of TIFF-structured bytes."""

    tag: int
    kind: int
    values: int
    place: int
    """Offset of the four bytes with its value, or with the value's offset."""


def byte_order(tiff: bytes | bytearray) -> str:
    """The byte order for struct: "<" or ">"."""
    return "<" if tiff[:2] == b"II" else ">"


def entries(tiff: bytes | bytearray, directory: int) -> Iterator[Entry]:
    """Yields the entries of the directory at that offset; struct.error if the bytes end too early."""
    order = byte_order(tiff)
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for start in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, start)
        struct.unpack_from("4s", tiff, start + 8)
        yield Entry(tag, kind, values, start + 8)


def first_directory(tiff: bytes | bytearray) -> int:
    """The offset of the first directory; struct.error if the bytes end too early."""
    return struct.unpack_from(byte_order(tiff) + "I", tiff, 4)[0]


def next_link(tiff: bytes | bytearray, directory: int) -> int:
    """The offset of the link to the next directory; struct.error if the bytes end too early."""
    (count,) = struct.unpack_from(byte_order(tiff) + "H", tiff, directory)
    link = directory + 2 + 12 * count
    struct.unpack_from("4s", tiff, link)
    return link


def fresh_exif(exif: bytes, size: tuple[int, int]) -> bytes:
    """Removes previews from EXIF and sets `size` = (height, width); all other bytes are kept."""
    tiff = bytearray(exif[len(EXIF_PREFIX) :])
    if tiff[:4] in TIFF_MAGICS:
        try:
            _drop_thumbnail(tiff)
            _set_size(tiff, size)
        except struct.error:
            pass  # truncated: nothing to update
    _blank_jpegs(tiff)
    return exif[: len(EXIF_PREFIX)] + bytes(tiff)


def fresh_xmp(xmp: bytes, orientation: int, size: tuple[int, int]) -> bytes:
    """Removes thumbnails from XMP, and sets the orientation and `size` = (height, width)."""
    for element in _STALE_ELEMENTS:
        xmp = _without(xmp, element)
    xmp = _STALE_ATTRIBUTES.sub(b"", xmp)
    for names, value in (
        (rb"tiff:Orientation", orientation),
        (rb"exif:PixelYDimension|tiff:ImageLength", size[0]),
        (rb"exif:PixelXDimension|tiff:ImageWidth", size[1]),
    ):
        new = rb"\g<1>%d\g<2>" % value
        xmp = re.sub(rb"""((?:%s)\s*=\s*["'])\d+(["'])""" % names, new, xmp)
        xmp = re.sub(rb"(<(?:%s)>\s*)\d+(\s*</)" % names, new, xmp)
    return xmp


def _without(xmp: bytes, element: bytes) -> bytes:
    """Removes all XML elements of that name."""
    parts, place, close = [], 0, b"</" + element + b">"
    while (start := xmp.find(b"<" + element, place)) >= 0 and (end := xmp.find(b">", start)) >= 0:
        if xmp[end - 1 : end] != b"/":
            found = xmp.find(close, end)
            if found < 0:
                break
            end = found + len(close) - 1
        parts.append(xmp[place:start])
        place = end + 1
    return b"".join([*parts, xmp[place:]])


def _drop_thumbnail(tiff: bytearray) -> None:
    """Ends the list of directories after the first, and blanks the data of the second."""
    order, first = byte_order(tiff), first_directory(tiff)
    link = next_link(tiff, first)
    (second,) = struct.unpack_from(order + "I", tiff, link)
    struct.pack_into(order + "I", tiff, link, 0)
    if second <= link:
        return  # none, or circular
    starts: list[int] = []
    lengths: list[int] = []
    for entry in entries(tiff, second):
        if entry.tag in _STARTS:
            starts += _numbers(tiff, entry)
        elif entry.tag in _LENGTHS:
            lengths += _numbers(tiff, entry)
    for start, length in zip(starts, lengths, strict=False):
        if start > link:
            _blank(tiff, start, start + length)


def _numbers(tiff: bytearray, entry: Entry) -> tuple[int, ...]:
    """The values of an integer entry; empty for other types."""
    if entry.kind not in (_SHORT, _LONG) or entry.values > len(tiff):
        return ()
    order, letter = byte_order(tiff), "H" if entry.kind == _SHORT else "I"
    form = f"{order}{entry.values}{letter}"
    outside = struct.calcsize(form) > 4
    place = struct.unpack_from(order + "I", tiff, entry.place)[0] if outside else entry.place
    return struct.unpack_from(form, tiff, place)


def _set_size(tiff: bytearray, size: tuple[int, int]) -> None:
    order, first = byte_order(tiff), first_directory(tiff)
    found = list(entries(tiff, first))
    for pointer in [entry for entry in found if entry.tag == _EXIF_IFD]:
        found += entries(tiff, struct.unpack_from(order + "I", tiff, pointer.place)[0])
    for entry in found:
        if entry.tag in _WIDTHS + _HEIGHTS and entry.kind in (_SHORT, _LONG) and entry.values == 1:
            # the new value may not fit into a short
            struct.pack_into(order + "H", tiff, entry.place - 6, _LONG)
            struct.pack_into(order + "I", tiff, entry.place, size[entry.tag in _WIDTHS])


def _blank_jpegs(data: bytearray) -> None:
    """Overwrites JPEG streams with zeros: thumbnails, and previews in maker notes."""
    whole = bytes(data)
    for match in islice(_JPEG.finditer(whole), _MOST_PREVIEWS):
        start = match.start()
        try:
            lengths = (len(segment) for _, segment in segments(whole, start))
            end = start + 2 + sum(islice(lengths, _MOST_SEGMENTS))
        except (IndexError, struct.error):
            continue  # a chance hit
        if whole[end : end + 2] == bytes([0xFF, EOI]):
            _blank(data, start, end + 2)


def _blank(data: bytearray, start: int, end: int) -> None:
    end = min(end, len(data))
    data[start:end] = bytes(max(end - start, 0))
