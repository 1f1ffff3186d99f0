"""Writes picture files, completely or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import RestoreError
from ..files import atomic_path
from .encoding import encode, encode_animation
from .pages import Pages, encode_pages, pages_of
from .picture import Picture, Timing
from .reading import MAX_PIXELS

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".bmp": "BMP",
}
_ANIMATIONS = {".gif": "GIF", ".webp": "WEBP"}


def write(picture: Picture, path: str | Path, *, format: str | None = None, quality: int | None = None) -> None:
    """Writes a picture with its profile, EXIF, resolution and transparency, as far as the format holds them.

    PNG, TIFF and BMP are lossless; PNG and TIFF keep 16 bits, other formats get 8, rounded. JPEG is written without
    chroma subsampling; EXIF over 64 KiB does not fit and is left out. BMP holds neither profile nor EXIF. 16-bit grey
    with transparency becomes RGBA in TIFF, because few programs read it otherwise. Missing folders are created; an
    existing file is replaced only once the new one is complete.

    Args:
        picture: the picture.
        path: the file; its suffix determines the format.
        format: PNG, JPEG, WebP, TIFF, AVIF or BMP; overrides the suffix.
        quality: 1 to 100, for JPEG (default 95), WebP and AVIF (default 90); ignored for the others.

    Raises:
        RestoreError: the format is unknown or cannot hold the transparency or the size, or writing fails.

    """
    data = encoded(picture, path, format=format, quality=quality)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encoded(
    picture: Picture,
    path: str | Path,
    *,
    format: str | None = None,
    quality: int | None = None,
    more: Sequence[Picture] = (),
    timing: Timing | None = None,
) -> bytes:
    """The bytes that `write` would write, with the same arguments and errors; nothing is written.

    Args:
        picture, path, format, quality: see `write`.
        more: further pages or frames, which TIFF, PNG, WebP and AVIF can hold.
        timing: of the frames.
    """
    name = output_format(path, format)
    return _named(
        path, lambda: encode_pages([picture, *more], name, quality, timing) if more else encode(picture, name, quality)
    )


def file_pages(data: bytes, path: str | Path, source: str | Path, max_pixels: int = MAX_PIXELS) -> Pages:
    """Finds the pages in the bytes of the file `source`, for an output `path`.

    Raises:
        RestoreError: they have more pixels than `max_pixels`, or the format cannot be written.
    """
    try:
        return pages_of(data, output_format(path), max_pixels)
    except RestoreError as error:
        raise RestoreError(f"{source}: {error}") from None


def write_animation(frames: Sequence[np.ndarray], path: str | Path, *, duration_ms: int) -> None:
    """Writes frames as a looping GIF or animated WebP.

    Args:
        frames: (H, W) grey or (H, W, 3) RGB, uint8 or uint16, all of one size.
        path: the file, .gif or .webp.
        duration_ms: duration of each frame; GIF rounds to 10 ms.

    Raises:
        RestoreError: another suffix, no frames, frames of unequal sizes, or the file cannot be written.

    """
    name = _ANIMATIONS.get(Path(path).suffix.lower())
    if name is None:
        raise RestoreError(f"{path}: not the suffix of an animation; use {' or '.join(_ANIMATIONS)}")
    data = _named(path, lambda: encode_animation(frames, name, duration_ms))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def output_format(path: str | Path, format: str | None = None) -> str:
    """Pillow's name for the output format, from `format` or else from the suffix.

    Raises RestoreError if it cannot be written: call it before long work.
    """
    suffix = f".{format.lower()}" if format else Path(str(path)).suffix.lower()
    name = _FORMATS.get(suffix)
    if name is None:
        unwritten = f"pictures are not written with the suffix {suffix}" if suffix else "no suffix"
        what = f"unknown format {format!r}" if format else unwritten
        raise RestoreError(f"{path}: {what}; choose one of {' '.join(_FORMATS)}")
    Image.init()
    if name not in Image.SAVE:
        raise RestoreError(f"{path}: this Pillow cannot write {name}; pip install -U pillow, or write .png")
    return name


def _named(path: str | Path, encoded: Callable[[], bytes]) -> bytes:
    """The encoded bytes; turns any error of the encoder into one line that names the file."""
    try:
        return encoded()
    except RestoreError as error:
        raise RestoreError(f"{path}: {error}") from None
    except MemoryError:
        raise RestoreError(f"{path}: too large for this computer's memory; write a smaller picture") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RestoreError(f"{path}: cannot be encoded ({reason}); write it as .png") from error
