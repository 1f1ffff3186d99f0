"""EXIF, its orientation tag, and resolution."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from PIL import Image

from .captions import read_xmp
from .colour import colour_space
from .silenced import pillow_silenced
from .stale import EXIF_PREFIX, TIFF_MAGICS, byte_order, entries, first_directory, fresh_exif, fresh_xmp

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_INTEROPERABILITY = 0xA005
_RESOLUTION, _UNIT = (0x011A, 0x011B), 0x0128
_INCH, _CENTIMETRE = 2, 3
# A TIFF mixes tags that describe the scene with tags that lay out the pixels; only the former are kept:
# description, make, model, orientation, software, date, artist, copyright, and the EXIF and GPS directories.
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, _ORIENTATION, 0x0131, 0x0132, 0x013B, 0x8298, _EXIF_IFD, _GPS_IFD)


def tiff_orientation(tiff: bytes) -> int:
    """The orientation in the first directory of TIFF-structured bytes: 1 to 8; 1 if missing."""
    entry = _orientation_entry(tiff)
    return _valid(struct.unpack_from(entry[1], tiff, entry[0])[0]) if entry else 1


def with_tiff_orientation(tiff: bytes, orientation: int) -> bytes | None:
    """The same TIFF-structured bytes with another value of the orientation tag; None if there is no such tag."""
    entry = _orientation_entry(tiff)
    if entry is None:
        return None
    start, form = entry
    value, whole = struct.pack(form, orientation), memoryview(tiff)
    return b"".join((whole[:start], value, whole[start + len(value) :]))


def with_orientation(exif: bytes | None, orientation: int) -> bytes | None:
    """Sets the orientation tag of EXIF.

    An existing tag is changed in place, so that all other bytes are kept (maker notes and thumbnails do not survive
    parsing and rewriting).
    """
    if exif is not None:
        patched = with_tiff_orientation(exif[len(EXIF_PREFIX) :], orientation)
        if patched is not None:
            return EXIF_PREFIX + patched
    if orientation == 1:
        return exif
    tags = parsed(exif)
    tags[_ORIENTATION] = orientation
    return tags.tobytes()


def current_exif(exif: bytes | None, orientation: int, size: tuple[int, int]) -> bytes | None:
    """EXIF for new pixels: with their orientation and `size` = (height, width), and without thumbnails."""
    exif = with_orientation(exif, orientation)
    if exif is None:
        return None
    fresh = fresh_exif(exif, size)
    try:
        with pillow_silenced():
            parsed(fresh)
    except Exception:  # a thumbnail overlapped the rest
        return None
    return fresh


def carried(image: Image.Image) -> Callable[[tuple[int, int]], dict[str, Any]]:
    """Returns a function from a size (width, height) to the `info` of a PIL image derived from `image`.

    Profile, resolution, EXIF and XMP, which Pillow's own operations keep, but without thumbnails.
    """
    with pillow_silenced():
        exif, orientation = read_exif(image)
    icc, _ = colour_space(image, b"")
    xmp, dpi = read_xmp(image), image.info.get("dpi")

    def info(size: tuple[int, int]) -> dict[str, Any]:
        found = {
            "icc_profile": icc,
            "dpi": dpi,
            "exif": current_exif(exif, orientation, size[::-1]),
            "xmp": xmp and fresh_xmp(xmp, orientation, size[::-1]),
        }
        return {name: value for name, value in found.items() if value}

    return info


def parsed(exif: bytes | None) -> Image.Exif:
    """The tags of EXIF bytes, empty for None; raises what Pillow raises."""
    tags = Image.Exif()
    if exif is not None:
        tags.load(exif)
    return tags


def read_exif(image: Image.Image) -> tuple[bytes | None, int]:
    """(EXIF, orientation) of an opened file; malformed EXIF is dropped, because no other program can read it."""
    try:
        tags = image.getexif()
        orientation = _valid(tags.get(_ORIENTATION, 1))
        raw = image.info.get("exif")
        if isinstance(raw, bytes) and raw:
            raw = raw if raw.startswith(EXIF_PREFIX) else EXIF_PREFIX + raw
            parsed(raw)
            return with_orientation(raw, orientation), orientation
        tags = descriptive(tags)
        return (with_orientation(tags.tobytes(), orientation) if tags else None), orientation
    except Exception:  # Pillow's parser raises many types
        return None, 1


def descriptive(tags: Image.Exif) -> Image.Exif:
    """The tags that describe the scene, without those that lay out the file."""
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag not in tags:
            continue
        if tag in (_EXIF_IFD, _GPS_IFD):
            # A pointer to a further directory would dangle.
            kept[tag] = {key: value for key, value in tags.get_ifd(tag).items() if key != _INTEROPERABILITY}
        else:
            kept[tag] = tags[tag]
    return kept


def read_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, across and down; None if missing or implausible."""
    try:
        if image.format in ("WEBP", "AVIF", "HEIF") and "dpi" not in image.info:
            tags = image.getexif()
            unit = 2.54 if tags.get(_UNIT) == _CENTIMETRE else 1.0
            across, down = (float(tags[tag]) * unit for tag in _RESOLUTION)
        else:
            across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if all(math.isfinite(v) and 1 <= v <= 65535 for v in (across, down)) else None


def exif_with_dpi(dpi: tuple[float, float]) -> bytes:
    """EXIF with only the resolution."""
    tags = Image.Exif()
    tags[_RESOLUTION[0]], tags[_RESOLUTION[1]] = dpi
    tags[_UNIT] = _INCH
    return tags.tobytes()


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _orientation_entry(tiff: bytes) -> tuple[int, str] | None:
    """The offset of the orientation tag's value, and its struct format."""
    if tiff[:4] not in TIFF_MAGICS:
        return None
    try:
        for entry in entries(tiff, first_directory(tiff)):
            if entry.tag == _ORIENTATION and entry.kind in (3, 4) and entry.values == 1:
                return entry.place, byte_order(tiff) + ("H" if entry.kind == 3 else "I")
    except struct.error:
        pass
    return None
