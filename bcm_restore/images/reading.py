"""Reads picture files."""

from __future__ import annotations

import re
import stat
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from PIL import Image, TiffImagePlugin, UnidentifiedImageError, features

from ..errors import RestoreError
from . import jpeg_segments
from .captions import read_iptc, read_text, read_xmp
from .channels import keyed_alpha, split, to_srgb
from .colour import colour_space
from .kinds import NEEDS_HEIF
from .metadata import (
    read_dpi,
    read_exif,
    tiff_orientation,
    with_orientation,
    with_tiff_orientation,
)
from .picture import Picture
from .silenced import libraries_silenced, pillow_silenced
from .sixteen_bit import decode_sixteen_bit, raw_mode, sixteen_bit_layout
from .stale import TIFF_MAGICS

MAX_PIXELS = 200_000_000
"""Default limit of the pixels that are decoded: a small file can declare a picture of any size."""

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "AVIF", "BMP", "DIB", "GIF", "HEIF")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TIFF_SAMPLES = {1: "integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}
_READABLE = "PNG, JPEG, WebP, TIFF, AVIF, BMP or GIF"


def read(path: str | Path, *, upright: bool = True, max_pixels: int = MAX_PIXELS, data: bytes | None = None) -> Picture:
    """Reads PNG, JPEG, WebP, TIFF, AVIF, BMP and GIF, and with pillow-heif HEIC, whatever the suffix.

    If there are several frames, the first is read. Grey stays grey. 16 bits stay 16 in PNG and TIFF (but not for CMYK;
    AVIF of 10 and 12 bits is read as 8). Palettes become RGB, a transparent colour becomes alpha. CMYK and Lab become
    sRGB, CMYK by the file's profile or else by Pillow's simple formula; their profiles are dropped. 32-bit integers
    must be in 0 to 65535 and floats in 0 to 1; both become 16 bits.

    Args:
        path: the file.
        upright: whether to apply the EXIF orientation; if not, it is left in `orientation` of the result.
        max_pixels: the largest number of pixels that the file may declare. Kinds that take more memory to decode count
            more, so that the default keeps within 2 GB: progressive JPEG, AVIF and 16-bit RGB 1.5 times, WebP and
            16 bits with transparency or in CMYK 2 times.
        data: the file's bytes from `file_contents`, if already read.

    Raises:
        RestoreError: the file does not exist, is not a picture, is damaged, too large or of an unsupported kind.

    """
    picture = decoded(path, BytesIO(file_contents(path) if data is None else data), max_pixels)
    return picture.upright() if upright else picture


def file_contents(path: str | Path) -> bytes:
    """Reads all bytes of a file; RestoreError if it does not exist or is empty."""
    path = Path(path) if isinstance(path, str) else path
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise RestoreError(f"{path}: is a folder; name a picture in it")
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise RestoreError(f"{path}: is not an ordinary file; name a picture")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RestoreError(f"{path}: no such file; check the name") from None
    except PermissionError:
        raise RestoreError(f"{path}: reading it is not allowed; change its permissions or copy it") from None
    except OSError as error:
        raise RestoreError(f"{path}: cannot be read ({error.strerror or error}); check the name and the disk") from None
    if not data:
        raise RestoreError(f"{path}: the file is empty; get a new copy")
    return data


def declared_pixels(data: bytes) -> int:
    """The number of pixels that a file's bytes declare; 0 if `read` would fail."""
    try:
        with pillow_silenced(), opened(BytesIO(data), sys.maxsize) as image:
            return image.width * image.height
    except Exception:  # decoders raise anything on damaged bytes
        return 0


def decoded(path: str | Path, file: BytesIO, max_pixels: int) -> Picture:
    """Decodes a file's bytes, not yet upright; `path` is for messages. Closes `file` to free memory."""
    # Pillow silently applies the orientation of TIFF files, so the tag is set to 1 first.
    turned = tiff_orientation(file.getvalue()) if file.getvalue()[:4] in TIFF_MAGICS else 1
    if turned != 1:
        file = BytesIO(with_tiff_orientation(file.getvalue(), 1) or file.getvalue())
    try:
        with pillow_silenced(), opened(file, max_pixels) as image:
            picture = _picture(image, file)
    except RestoreError as error:
        raise RestoreError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        if kind := _tiff_kind(file.getvalue()):
            raise RestoreError(
                f"{path}: a TIFF of a kind that is not read ({kind}); save it as grey or RGB of 8 or 16 bits, or as PNG"
            ) from None
        raise RestoreError(
            f"{path}: not a readable picture, or truncated in its header; give {_READABLE}, or save it again as PNG"
        ) from None
    except MemoryError:
        raise RestoreError(f"{path}: too large for this computer's memory; give a smaller picture") from None
    except Exception as error:  # decoders raise anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RestoreError(
            f"{path}: truncated or damaged ({reason}); get a new copy of the file, "
            "or save what a viewer shows of it as PNG and inpaint the rest"
        ) from error
    if turned != 1:
        picture = replace(picture, orientation=turned, exif=with_orientation(picture.exif, turned))
    return picture


def _tiff_kind(data: bytes) -> str | None:
    """What a TIFF file holds: "3 x 32-bit floats"; None where it is no TIFF, or not a whole one."""
    if data[:4] not in TIFF_MAGICS:
        return None
    try:
        with pillow_silenced():
            directory, file = TiffImagePlugin.ImageFileDirectory_v2(data[:8]), BytesIO(data)
            file.seek(directory.next)
            directory.load(file)
        tiled = TiffImagePlugin.TILEOFFSETS in directory
        starts = directory[TiffImagePlugin.TILEOFFSETS if tiled else TiffImagePlugin.STRIPOFFSETS]
        sizes = directory[TiffImagePlugin.TILEBYTECOUNTS if tiled else TiffImagePlugin.STRIPBYTECOUNTS]
        whole = all(start + size <= len(data) for start, size in zip(starts, sizes, strict=True))
        bits, compression = directory[TiffImagePlugin.BITSPERSAMPLE], directory.get(TiffImagePlugin.COMPRESSION, 1)
        sample = _TIFF_SAMPLES.get(directory.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0], "numbers")
    except Exception:  # whatever damaged bytes make of it
        return None
    packed = "" if compression in TiffImagePlugin.COMPRESSION_INFO else f", compression {compression}"
    return f"{len(bits)} x {bits[0]}-bit {sample}{packed}" if whole else None


def opened(file: BytesIO, max_pixels: int) -> Image.Image:
    """Opens a file's bytes: reads the header and checks the size, but does not decode the pixels.

    Raises RestoreError without the file's name, and Pillow's own errors.
    """
    data = file.getvalue()
    if data[4:11] == b"ftypavi" and not features.check("avif"):
        raise RestoreError(
            "this Pillow cannot read AVIF; install Pillow from PyPI (pip install -U pillow), or give a PNG"
        )
    if data.startswith(jpeg_segments.START):
        jpeg_segments.check_header(data)
    Image.init()
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[8:64]:
        _add_heif()
    image = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    width, height = image.size
    if width < 1 or height < 1:
        raise RestoreError(f"declares {width} x {height} pixels; get a new copy of the file")
    weight, kind = _weight(image, data)
    if weight * width * height > max_pixels:
        counted = f" that count {weight:g} times ({kind})" if kind else ""
        raise RestoreError(
            f"declares {width} x {height} pixels{counted}, more than the limit of {max_pixels / 1e6:g} megapixels; "
            "give a smaller one, or raise --max-pixels"
        )
    if image.format in ("JPEG", "MPO"):
        jpeg_segments.check_scans(data, width * height)
    return image


def _add_heif() -> None:
    """Enables HEIC in Pillow; RestoreError, without the file's name, if the package is missing."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise RestoreError(f"HEIC needs pillow-heif; {NEEDS_HEIF}") from None
    register_heif_opener()


def _weight(image: Image.Image, data: bytes) -> tuple[float, str]:
    """The weight of a pixel of an opened image, by the memory that decoding takes, and the reason."""
    layout = re.fullmatch("([A-Za-z]{2,});16[LBN]", raw_mode(image))  # one letter is grey
    if layout and layout[1] != "RGB":
        return 2, f"16-bit {layout[1]}"
    if image.format == "WEBP":
        return 2, "WebP"
    if layout:
        return 1.5, "16-bit RGB"
    if image.format in ("AVIF", "HEIF"):
        return 1.5, image.format
    if image.format in ("JPEG", "MPO") and (
        image.info.get("progressive") or jpeg_segments.has_separate_scans(data, len(image.getbands()))
    ):
        return 1.5, "progressive JPEG"
    return 1, ""


def _picture(image: Image.Image, file: BytesIO) -> Picture:
    """Converts the opened `image` of `file` to a Picture, orientation not yet applied; closes both."""
    layout, rawmode = sixteen_bit_layout(image), raw_mode(image)
    if image.format == "TIFF":
        # Its directories are in the file, which loading closes.
        exif, orientation = read_exif(image)
        with libraries_silenced():
            image.load()
    else:
        # The EXIF of a PNG may follow the pixels.
        image.load()
        exif, orientation = read_exif(image)
    icc, cicp = colour_space(image, file.getvalue())
    xmp, iptc, text = read_xmp(image), read_iptc(image), read_text(image)
    key = image.info.get("transparency")
    dpi = read_dpi(image)
    name = image.format or "PNG"
    if layout:
        pixels, alpha = decode_sixteen_bit(file.getvalue(), layout, image)
        file.close()
    else:
        file.close()
        if image.mode in ("CMYK", "LAB"):
            pixels, alpha, icc = to_srgb(image, icc), None, None
        else:
            pixels, alpha = split(image)
        image.close()
    if alpha is None:
        alpha = keyed_alpha(pixels, key, rawmode)
    name = {"MPO": "JPEG", "DIB": "BMP"}.get(name, name)
    return Picture(pixels, alpha, icc, exif, orientation, name, dpi, xmp, iptc, text, cicp)
