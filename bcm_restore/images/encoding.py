"""Encodes pictures as the bytes of a file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import accumulate
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from ..errors import RestoreError
from ..spans import steps
from .captions import jpeg_settings, png_chunks
from .channels import bands
from .colour import name as colour_name
from .metadata import current_exif, descriptive, exif_with_dpi, parsed
from .picture import Picture, as_depth
from .silenced import pillow_silenced
from .stale import EXIF_PREFIX, fresh_xmp

_OPAQUE = ("JPEG", "BMP")
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535}
_QUALITY = {"JPEG": 95, "WEBP": 90, "AVIF": 90}
# Higher zlib levels double the time for a few percent.
_ZLIB_LEVEL = 4
_SETTINGS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": _ZLIB_LEVEL},
    "JPEG": {"subsampling": "4:4:4"},
    "WEBP": {"method": 4, "exact": True},
    "AVIF": {"subsampling": "4:4:4"},
    "BMP": {},
}
_JPEG_SEGMENT = 65533
# Choosing a palette is slow, and 65,536 pixels are enough for it.
_PALETTE_SIDE = 256
_STRIP_BYTES = 1 << 20
_TIFF_XMP, _TIFF_IPTC, _TIFF_BYTE, _TIFF_UNDEFINED = 700, 33723, 1, 7
_TIFF_GREY, _TIFF_RGB, _TIFF_DEFLATE, _TIFF_HORIZONTAL, _TIFF_STRAIGHT_ALPHA, _TIFF_INCH = 1, 2, 8, 2, 2, 2


def encode(picture: Picture, name: str, quality: int | None = None) -> bytes:
    """Encodes a picture in Pillow's format `name`; RestoreError, without the file's name, if the format cannot."""
    check(picture, name, quality)
    if name == "TIFF":
        return _tiff(picture)
    if name == "PNG" and picture.pixels.dtype == np.uint16:
        return _png16(picture)
    return _by_pillow(picture, name, quality)


def check(picture: Picture, name: str, quality: int | None) -> None:
    """Raises RestoreError, without the file's name, if Pillow's format `name` cannot hold the picture."""
    if quality is not None and not 1 <= quality <= 100:
        raise RestoreError(f"quality {quality} is not between 1 and 100; 95 is a good value")
    _check_size(picture.size, name)
    if picture.alpha is not None and name in _OPAQUE:
        raise RestoreError(f"{name} holds no transparency; write .png, .webp, .tif or .avif instead")
    if picture.cicp is not None and name != "PNG":
        raise RestoreError(f"its colours are in {colour_name(picture.cicp)}, which {name} does not hold; write .png")


def encode_animation(frames: Sequence[np.ndarray], name: str, duration_ms: int) -> bytes:
    """Encodes frames as a looping GIF or WebP; RestoreError, without the file's name, for none or unequal sizes."""
    if not frames or any(frame.shape[:2] != frames[0].shape[:2] for frame in frames):
        raise RestoreError(
            f"the {len(frames)} frames are not all of one size; an animation needs one or more frames of equal size"
        )
    _check_size((frames[0].shape[0], frames[0].shape[1]), name)
    images = [Image.fromarray(as_depth(frame, np.uint8)).convert("RGB") for frame in frames]
    settings: dict[str, Any] = {"quality": _QUALITY["WEBP"], "method": 4}
    duration = duration_ms
    if name == "GIF":
        images = [_with_palette(image) for image in images]
        settings = {"optimize": False, "disposal": 1}
        duration = max(10, round(duration_ms, -1))
    file = BytesIO()
    with pillow_silenced():
        images[0].save(file, name, save_all=True, append_images=images[1:], duration=duration, loop=0, **settings)
    return file.getvalue()


def _check_size(size: tuple[int, int], name: str) -> None:
    limit = _LONGEST_SIDE.get(name)
    if limit is not None and max(size) > limit:
        raise RestoreError(
            f"{size[1]} x {size[0]} pixels, but {name} holds at most {limit} a side; write .png or .tif instead"
        )


def _with_palette(image: Image.Image) -> Image.Image:
    """Reduces an image to 256 colours chosen for it, with dithering."""
    small = image.copy()
    small.thumbnail((_PALETTE_SIDE, _PALETTE_SIDE), Image.Resampling.NEAREST)
    palette = small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def _by_pillow(picture: Picture, name: str, quality: int | None) -> bytes:
    if name == "BMP" or (name == "JPEG" and len(_exif(picture) or b"") > _JPEG_SEGMENT):
        picture = replace(picture.upright(), exif=None)
    file = BytesIO()
    with pillow_silenced():
        as_image(picture).save(file, name, **pillow_settings(picture, name, quality))
    return file.getvalue()


def pillow_settings(picture: Picture, name: str, quality: int | None) -> dict[str, Any]:
    """Pillow's options for saving a picture."""
    settings = dict(_SETTINGS[name]) | _captions(picture, name)
    if name in _QUALITY:
        settings["quality"] = quality or _QUALITY[name]
    exif = _exif(picture)
    if exif is None and picture.dpi and name in ("WEBP", "AVIF"):  # they store it nowhere else
        exif = exif_with_dpi(picture.dpi)
    settings |= {"exif": exif, "icc_profile": picture.icc, "dpi": picture.dpi}
    return {key: value for key, value in settings.items() if value is not None}


def as_image(picture: Picture) -> Image.Image:
    """Converts pixels and alpha to an 8-bit PIL image."""
    samples = _samples(picture, np.uint8)
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _exif(picture: Picture) -> bytes | None:
    return current_exif(picture.exif, picture.orientation, picture.size)


def _xmp(picture: Picture) -> bytes | None:
    return picture.xmp and fresh_xmp(picture.xmp, picture.orientation, picture.size)


def _captions(picture: Picture, name: str) -> dict[str, Any]:
    """Pillow's options for XMP, IPTC and texts, as far as the format holds them."""
    xmp = _xmp(picture)
    if name == "PNG":
        return {"pnginfo": png_chunks(picture.text, xmp, picture.iptc, picture.cicp)}
    if name == "JPEG":
        return jpeg_settings(picture.text, xmp, picture.iptc)
    return {"xmp": xmp} if xmp and name in ("WEBP", "AVIF") else {}


def _samples(
    picture: Picture, dtype: np.dtype | type, rows: slice = slice(None), grey_as_rgb: bool = False
) -> np.ndarray:
    """The samples of these rows, (h, W, 1 to 4): grey or RGB, then alpha if there is one."""
    planes = [picture.pixels[rows] if picture.pixels.ndim == 3 else picture.pixels[rows, :, None]]
    if grey_as_rgb:
        planes *= 3
    if picture.alpha is not None:
        planes.append(picture.alpha[rows, :, None])
    return as_depth(planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1), dtype)


def _png16(picture: Picture) -> bytes:
    """Encodes a 16-bit PNG, which Pillow writes only for grey, and OpenCV without profile and EXIF."""
    height, width = picture.size
    channels = (1 if picture.pixels.ndim == 2 else 3) + (picture.alpha is not None)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if picture.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in picture.dpi), 1)))
    chunks += [chunk[:2] for chunk in png_chunks(picture.text, _xmp(picture), picture.iptc, picture.cicp).chunks]
    if exif := _exif(picture):
        chunks.append((b"eXIf", exif[len(EXIF_PREFIX) :]))
    deflated = _deflated_rows(picture)
    data = [b"\x89PNG\r\n\x1a\n", *(_chunk(kind, body) for kind, body in chunks)]
    data += [_chunk(b"IDAT", body) for body in deflated if body]
    return b"".join([*data, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _deflated_rows(picture: Picture) -> Iterator[bytes]:
    """The 16-bit rows of a PNG, filtered and deflated, in bands to save memory."""
    deflate, above = zlib.compressobj(_ZLIB_LEVEL), None
    for band in bands(picture.size):
        samples = _samples(picture, np.uint16, band).astype(">u2")
        rows = samples.reshape(len(samples), -1).view(np.uint8)
        # PNG filter 2: each byte minus the one above it.
        filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = 2
        filtered[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]) if above is None else above)
        above = rows[-1:]
        yield deflate.compress(filtered.data)
    yield deflate.flush()


def _tiff(picture: Picture) -> bytes:
    """Encodes a TIFF with deflated strips and horizontal prediction.

    Pillow writes the directory; its own encoder has no 16-bit colour, and loses EXIF when it compresses.
    """
    sixteen_bit = picture.pixels.dtype == np.uint16
    # Hardly anything reads 16-bit grey with transparency.
    as_rgb = sixteen_bit and picture.pixels.ndim == 2 and picture.alpha is not None
    height, width = picture.size
    channels = (1 if picture.pixels.ndim == 2 and not as_rgb else 3) + (picture.alpha is not None)
    rows_a_strip = max(1, _STRIP_BYTES // (width * channels * picture.pixels.itemsize))
    strips = [
        _tiff_strip(_samples(picture, picture.pixels.dtype, rows, as_rgb)) for rows in steps(height, rows_a_strip)
    ]
    lengths = [len(strip) for strip in strips]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if exif := _exif(picture):
        with pillow_silenced():
            directory.update(descriptive(parsed(exif)))
    tags: dict[int, Any] = {
        TiffImagePlugin.IMAGEWIDTH: width,
        TiffImagePlugin.IMAGELENGTH: height,
        TiffImagePlugin.BITSPERSAMPLE: (picture.pixels.itemsize * 8,) * channels,
        TiffImagePlugin.COMPRESSION: _TIFF_DEFLATE,
        TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: _TIFF_RGB if channels > 2 else _TIFF_GREY,
        # Relative to the end of the directory: Pillow adds its position.
        TiffImagePlugin.STRIPOFFSETS: tuple(accumulate(lengths[:-1], initial=0)),
        TiffImagePlugin.SAMPLESPERPIXEL: channels,
        TiffImagePlugin.ROWSPERSTRIP: rows_a_strip,
        TiffImagePlugin.STRIPBYTECOUNTS: tuple(lengths),
        TiffImagePlugin.PREDICTOR: _TIFF_HORIZONTAL,
    }
    if channels in (2, 4):
        tags[TiffImagePlugin.EXTRASAMPLES] = _TIFF_STRAIGHT_ALPHA
    if picture.dpi:
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = picture.dpi
        tags[TiffImagePlugin.RESOLUTION_UNIT] = _TIFF_INCH
    if picture.icc:
        tags[TiffImagePlugin.ICCPROFILE] = picture.icc
    for tag, kind, block in ((_TIFF_XMP, _TIFF_BYTE, _xmp(picture)), (_TIFF_IPTC, _TIFF_UNDEFINED, picture.iptc)):
        if block:
            directory.tagtype[tag] = kind
            tags[tag] = block
    directory.update(tags)
    file = BytesIO()
    directory.save(file)
    return b"".join([file.getvalue(), *strips])


def _tiff_strip(samples: np.ndarray) -> bytes:
    """Deflates rows (h, W, channels), each sample minus the one to its left."""
    differences = np.diff(samples, axis=1, prepend=np.zeros_like(samples[:, :1]))
    return zlib.compress(differences.astype(samples.dtype.newbyteorder("<")).tobytes(), _ZLIB_LEVEL)
