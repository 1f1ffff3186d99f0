"""Colour spaces given by numbers instead of a profile: gAMA, cHRM and cICP in PNG, nclx in AVIF and HEIC.

Where possible they become an ICC profile, which every format but BMP holds. It is a matrix/curve profile after
ICC.1:2010 (version 4.3); the numbers are those of ITU-T H.273.
"""

from __future__ import annotations

import re
import struct
from functools import cache

import numpy as np
from PIL import Image

Cicp = tuple[int, int, int, int]
"""Primaries, transfer, matrix, and 1 for the full range, by ITU-T H.273."""

_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of white, red, green, blue
_PRIMARIES = {
    1: _SRGB,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# Parameters of the curve ((a x + b)^g for x >= d, c x below), or the exponent alone.
Curve = tuple[float, ...]
_SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE: Curve = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB_CURVE,
}
_NAMES = {16: "PQ", 18: "HLG"}
_UNSPECIFIED, _SRGB_CODES = 2, ((1, 13), (2, 13), (1, 2), (2, 2))
_NCLX = re.compile(rb"colrnclx(..)(..)(..)(.)", re.DOTALL)
_FULL = 0x80

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def colour_space(image: Image.Image, data: bytes) -> tuple[bytes | None, Cicp | None]:
    """(ICC profile, cICP) of an opened file and its bytes: at most one of them; both None for sRGB.

    The file's own profile takes precedence over everything but cICP, as the PNG specification requires. cICP is
    returned if no profile can express it: PQ, HLG, and anything but the full range.
    """
    cicp = _png_cicp(data) if image.format == "PNG" else _nclx(data) if image.format in ("AVIF", "HEIF") else None
    icc = image.info.get("icc_profile") or None
    if icc and (cicp is None or image.format != "PNG"):
        return icc, None
    grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
    if cicp is not None:
        if cicp[:2] in _SRGB_CODES and cicp[3]:
            return None, None
        primaries, curve = _PRIMARIES.get(cicp[0] if cicp[0] != _UNSPECIFIED else 1), _CURVES.get(cicp[1])
        if primaries and curve and cicp[2:] == (0, 1):
            return profile(primaries, curve, grey), None
        return None, cicp
    return numbered_profile(image, grey), None


def numbered_profile(image: Image.Image, grey: bool) -> bytes | None:
    """Converts gAMA and cHRM of an opened PNG to a profile; None if they are missing or invalid."""
    gamma, white_red_green_blue = image.info.get("gamma"), image.info.get("chromaticity")
    if "srgb" in image.info or not (gamma or white_red_green_blue):
        return None
    curve = (1 / gamma,) if gamma else _SRGB_CURVE
    try:
        return profile(tuple(white_red_green_blue or _SRGB), curve, grey)
    except (ArithmeticError, ValueError, TypeError, struct.error, np.linalg.LinAlgError):
        return None  # not valid colours


def name(cicp: Cicp) -> str:
    """The name of a colour space for messages."""
    return f"{_NAMES.get(cicp[1], 'colours')} (cICP {'-'.join(map(str, cicp))})"


@cache
def profile(primaries: tuple[float, ...], curve: Curve, grey: bool) -> bytes:
    """Builds an ICC profile.

    Args:
        primaries: x and y of white, red, green and blue.
        curve: an exponent, or (g, a, b, c, d) with (a x + b)^g for x >= d and c x below.
        grey: for pictures of one channel: only white and the curve are used.
    """
    white = _xyz(*primaries[:2])
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    tags = {b"desc": _text("Colour space of the source"), b"cprt": _text("No copyright"), b"wtpt": _point(_D50)}
    tags[b"chad"] = b"sf32\0\0\0\0" + _fixed(*adapt.flat)
    if grey:
        tags[b"kTRC"] = _curve(curve)
    else:
        columns = np.stack([_xyz(*primaries[n : n + 2]) for n in (2, 4, 6)], axis=1)
        columns = adapt @ (columns * np.linalg.solve(columns, white))
        for n, letter in enumerate((b"r", b"g", b"b")):
            tags[letter + b"XYZ"] = _point(columns[:, n])
            tags[letter + b"TRC"] = _curve(curve)
    return _assembled(tags, b"GRAY" if grey else b"RGB ")


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    """Joins header, tag table and tags."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    date = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x04300000, b"mntr", space, b"XYZ ")
    header += date + b"acsp" + bytes(28) + _fixed(*_D50)
    return header.ljust(128, b"\0") + table + body


def _xyz(x: float, y: float) -> np.ndarray:
    if not (0 <= x <= 1 and 0 < y <= 1):
        raise ValueError(f"({x}, {y}) is not a colour")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _point(xyz: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*xyz)


def _curve(curve: Curve) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + _fixed(*curve)


def _text(text: str) -> bytes:
    words = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(words), 28) + words


def _png_cicp(data: bytes) -> Cicp | None:
    """The values of the cICP chunk, which comes before the pixels."""
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IDAT":
            return None
        if kind == b"cICP" and length == 4 and place + 12 <= len(data):
            primaries, transfer, matrix, full = data[place + 8 : place + 12]
            return primaries, transfer, matrix, full
        place += 12 + length
    return None


def _nclx(data: bytes) -> Cicp | None:
    """The values of the first colour box; pixels are decoded to full-range RGB."""
    found = _NCLX.search(data)
    if found is None:
        return None
    primaries, transfer = (int.from_bytes(found[n], "big") for n in (1, 2))
    return primaries, transfer, 0, 1
