"""Reads the quantised DCT coefficients and the quantisation tables of JPEG files."""

from __future__ import annotations

import struct
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import RestoreError
from .jpeg_segments import SOS, START, segments
from .reading import MAX_PIXELS, decoded, file_contents, opened
from .silenced import libraries_silenced, pillow_silenced

_DQT, _DHT, _DRI, _APP0, _APP14 = 0xDB, 0xC4, 0xDD, 0xE0, 0xEE
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive; all Huffman-coded
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # lossless, hierarchical, arithmetic
_ESSENTIAL = _FRAMES | {SOS, _DQT, _DHT, _DRI}


class JpegCoefficients(NamedTuple):
    """The coefficients of a JPEG file, as stored, before dequantisation."""

    size: tuple[int, int]
    """(height, width) of the picture as stored, before any orientation."""
    planes: tuple[np.ndarray, ...]
    """One per component: int16 (blocks down, blocks across, 8, 8), the last two axes row and column frequency.

    The number of blocks that cover the component: ceil(height * v / (8 * largest v)) down, and across likewise. Blocks
    that only pad the last minimum coded unit are left out.
    """
    tables: tuple[np.ndarray, ...]
    """One per component: quantisation steps, uint16 (8, 8), in the order of the planes' last two axes."""
    sampling: tuple[tuple[int, int], ...]
    """One per component: (vertical, horizontal) factors, ((2, 2), (1, 1), (1, 1)) for 4:2:0; only ratios matter."""
    colour: str = "YCbCr"
    """Colour space of three components: YCbCr or RGB; of four: CMYK, or YCCK (C, M and Y stored as YCbCr)."""

    def inks(self) -> tuple[JpegCoefficients, JpegCoefficients]:
        """Splits four components into two pictures, see `Inks`: cyan, magenta, yellow as RGB, and black as grey."""
        colours = self._replace(
            planes=self.planes[:3],
            tables=self.tables[:3],
            sampling=self.sampling[:3],
            colour="RGB" if self.colour == "CMYK" else "YCCK",
        )
        return colours, self._replace(
            planes=self.planes[3:], tables=self.tables[3:], sampling=((1, 1),), colour="YCbCr"
        )


def jpeg_coefficients(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> JpegCoefficients | None:
    """Reads the coefficients and tables of a JPEG file, whatever its suffix.

    None if the file is not an 8-bit, Huffman-coded JPEG in grey, YCbCr, RGB, CMYK or YCCK. The arguments are those of
    `read`.

    Raises:
        RestoreError: the file does not exist, is not a picture, is damaged or is too large.

    """
    data = file_contents(path) if data is None else data
    if not data.startswith(START):
        return None
    # Checks that it can be decoded: jpeglib fills the missing part of a truncated file with zeros.
    decoded(path, BytesIO(data), max_pixels)
    layout = _layout(data)
    if layout is None or not _is_sound(layout.essence, max_pixels):
        return None
    try:
        return _coefficients(layout)
    except OSError as error:
        if error.errno is None:  # jpeglib's libjpeg is stricter than Pillow's and refuses the file
            return None
        folder = tempfile.gettempdir()
        raise RestoreError(f"{path}: reading its coefficients needs space in {folder} ({error.strerror})") from error


class _Layout(NamedTuple):
    size: tuple[int, int]
    sampling: tuple[tuple[int, int], ...]
    colour: str
    essence: bytes
    """The parts of the file that its coefficients need."""


def _is_sound(essence: bytes, max_pixels: int) -> bool:
    """Whether Pillow decodes it: jpeglib crashes on headers that Pillow's libjpeg refuses."""
    try:
        with pillow_silenced(), libraries_silenced(), opened(BytesIO(essence), max_pixels) as image:
            image.draft("L", (1, 1))  # an eighth of the size is enough, and quicker
            image.load()
    except Exception:  # decoders raise anything on damaged bytes
        return False
    return True


def _coefficients(layout: _Layout) -> JpegCoefficients:
    """Reads the coefficients with jpeglib's C library.

    Its `read_dct` fails on files with many markers, keeps them in global arrays, decodes everything twice and leaves a
    temporary file behind on errors. So the C library is called directly, with a file without markers and the sizes
    that `read_dct` would look up.
    """
    height, width = layout.size
    tallest, widest = (max(factors) for factors in zip(*layout.sampling, strict=True))
    blocks = [(-(-height * v // (8 * tallest)), -(-width * h // (8 * widest))) for v, h in layout.sampling]
    planes = tuple(np.zeros((*count, 8, 8), np.int16) for count in blocks)
    tables, numbers = np.zeros((4, 8, 8), np.uint16), np.zeros(4, np.int16)
    pointers = {name: plane.ctypes for name, plane in zip(("Y", "Cb", "Cr", "K"), planes, strict=False)}
    with tempfile.TemporaryDirectory() as folder, libraries_silenced():
        path = Path(folder) / "picture.jpg"
        path.write_bytes(layout.essence)
        try:
            from jpeglib._bind import CJpegLib

            everything = dict.fromkeys(("Y", "Cb", "Cr", "K")) | pointers
            CJpegLib.read_jpeg_dct(srcfile=str(path), **everything, qt=tables.ctypes, quant_tbl_no=numbers.ctypes)
        except (AttributeError, ImportError, TypeError) as error:  # not a documented part of jpeglib
            raise RestoreError("this version of jpeglib is not supported; run pip install jpeglib==1.0.2") from error
    return JpegCoefficients(
        size=layout.size,
        planes=planes,
        tables=tuple(tables[number].copy() for number in numbers[: len(planes)]),
        sampling=layout.sampling,
        colour=layout.colour,
    )


def _layout(data: bytes) -> _Layout | None:
    """Parses the bytes of a JPEG file; None if its kind is not supported."""
    frame: bytes | None = None
    jfif, scanned = False, False
    adobe_transform: int | None = None
    essence = [START]
    try:
        for marker, segment in segments(data):
            body = segment[4:]
            if marker == _APP0 and body.startswith(b"JFIF\0"):
                jfif = True
            elif marker == _APP14 and body.startswith(b"Adobe"):
                adobe_transform = body[11]
            elif marker in _OTHER_FRAMES or (marker in _FRAMES and frame is not None):
                return None
            elif marker in _FRAMES:
                frame = body
            elif marker == _DQT and scanned:
                return None  # `JpegCoefficients` has one table per component
            scanned = scanned or marker == SOS
            if marker in _ESSENTIAL:
                essence.append(segment)
        if frame is None or not scanned:
            return None
        precision, height, width, count = struct.unpack_from(">BHHB", frame)
        names = frame[6 : 6 + 3 * count : 3]
        factors = frame[7 : 6 + 3 * count : 3]
    except (IndexError, struct.error):
        return None
    if precision != 8 or 0 in (height, width) or count not in (1, 3, 4) or len(factors) != count:
        return None
    sampling = tuple((factor & 15, factor >> 4) for factor in factors)
    if any(not 1 <= value <= 4 for pair in sampling for value in pair):
        return None
    colour = "YCbCr"
    if count == 3 and not _is_ycbcr(names, jfif, adobe_transform):
        colour = "RGB"
    if count == 4:
        colour = "YCCK" if adobe_transform == 2 else "CMYK"
        if sampling[3] != sampling[0]:
            return None  # black is restored as a picture of the same size
    essence.insert(1, _standard_codes())
    return _Layout((height, width), sampling, colour, b"".join(essence) + b"\xff\xd9")


@cache
def _standard_codes() -> bytes:
    """The Huffman tables of the standard: cameras' video frames leave them out, and decoders supply them."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", optimize=False)
    return b"".join(segment for marker, segment in segments(file.getvalue()) if marker == _DHT)


def _is_ycbcr(names: bytes, jfif: bool, adobe_transform: int | None) -> bool:
    """Whether three components are YCbCr rather than RGB, by libjpeg's rules."""
    if jfif:
        return True
    if adobe_transform is not None:
        return adobe_transform != 0
    return names != b"RGB"
