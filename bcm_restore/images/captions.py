"""Descriptions of a picture, carried from file to file: PNG text, comments, XMP and IPTC."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

_COMMENT = "Comment"
_PNG_XMP = "XML:com.adobe.xmp"
_RAW = "Raw profile type "  # EXIF, IPTC and XMP as ImageMagick stores them in PNG text
_IPTC = 0x0404  # in Photoshop's resources
_TIFF_IPTC = 33723
_PHOTOSHOP = b"Photoshop 3.0\0"
_JPEG_SEGMENT = 65533
_LINE = 72


def read_text(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """The texts of a loaded PNG with their keywords, or the comment of a JPEG or GIF."""
    texts: Mapping[str, Any] = getattr(image, "text", {}) if image.format == "PNG" else {}
    if comment := image.info.get("comment"):
        texts = {**texts, _COMMENT: _decoded(comment) if isinstance(comment, bytes) else str(comment)}
    return tuple((key, str(text)) for key, text in texts.items() if key != _PNG_XMP and not key.startswith(_RAW))


def read_xmp(image: Image.Image) -> bytes | None:
    """The XMP packet of a loaded file; None if missing or invalid."""
    xmp = image.info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return xmp if isinstance(xmp, bytes) and b"<rdf:RDF" in xmp else None


def read_iptc(image: Image.Image) -> bytes | None:
    """The IPTC records of a loaded file: JPEG, PNG or TIFF."""
    if image.format == "PNG":
        raw = getattr(image, "text", {}).get(f"{_RAW}iptc", "")
        found = re.fullmatch(r"\s*iptc\s+\d+\s+([0-9a-fA-F\s]*)", str(raw))
        block = bytes.fromhex("".join(found[1].split())) if found and len("".join(found[1].split())) % 2 == 0 else b""
        return _from_resources(block) if block.startswith((b"8BIM", _PHOTOSHOP)) else block or None
    resources = image.info.get("photoshop") or {}
    iptc = resources.get(_IPTC) or getattr(image, "tag_v2", {}).get(_TIFF_IPTC)
    return iptc if isinstance(iptc, bytes) and iptc else None


def png_chunks(
    text: tuple[tuple[str, str], ...], xmp: bytes | None, iptc: bytes | None, cicp: tuple[int, ...] | None
) -> PngInfo:
    """The descriptions and cICP as PNG chunks."""
    chunks = PngInfo()
    if cicp:
        chunks.add(b"cICP", bytes(cicp))
    for key, value in text:
        chunks.add_text(key, value)
    if xmp:
        chunks.add_itxt(_PNG_XMP, xmp.decode("utf-8", "replace"))
    if iptc:
        block = _resources(iptc)
        digits = block.hex()
        lines = "\n".join(digits[start : start + _LINE] for start in range(0, len(digits), _LINE))
        chunks.add_text(f"{_RAW}iptc", f"\niptc\n{len(block):8d}\n{lines}\n", zip=True)
    return chunks


def jpeg_settings(text: tuple[tuple[str, str], ...], xmp: bytes | None, iptc: bytes | None) -> dict[str, Any]:
    """Pillow's options for a JPEG; what does not fit into a segment is left out."""
    settings: dict[str, Any] = {}
    comment = next((value.encode() for key, value in text if key == _COMMENT), b"")
    if 0 < len(comment) <= _JPEG_SEGMENT:
        settings["comment"] = comment
    if xmp and len(xmp) < _JPEG_SEGMENT - 29:
        settings["xmp"] = xmp
    if iptc and len(block := _PHOTOSHOP + _resources(iptc)) <= _JPEG_SEGMENT:
        settings["extra"] = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
    return settings


def _resources(iptc: bytes) -> bytes:
    return struct.pack(">4sHHI", b"8BIM", _IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def _from_resources(block: bytes) -> bytes | None:
    """The IPTC records in Photoshop's resources, if they come first."""
    block = block.removeprefix(_PHOTOSHOP)
    try:
        signature, code, _, length = struct.unpack_from(">4sHHI", block)
    except struct.error:
        return None
    return block[12 : 12 + length] if (signature, code) == (b"8BIM", _IPTC) else None


def _decoded(comment: bytes) -> str:
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")
