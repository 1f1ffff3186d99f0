"""Picture files out, each whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import RestoreError
from .encoding import encode, encode_animation
from .picture import Picture

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

_WAYS_OUT = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
    errno.EROFS: "the disk is read-only; write elsewhere",
    errno.EACCES: "writing there is not allowed; write elsewhere or change the folder's permissions",
    errno.EPERM: "writing there is not allowed; write elsewhere or change the folder's permissions",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another name",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another name",
    errno.EISDIR: "it is a folder; add a file name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def write(picture: Picture, path: str | Path, *, format: str | None = None, quality: int | None = None) -> None:
    """Writes a picture with its profile, EXIF, resolution and transparency, as the format can hold them.

    PNG, TIFF and BMP are lossless; PNG and TIFF keep 16 bits, other formats get 8, rounded. JPEG is written without
    chroma subsampling; EXIF of more than 64 KiB does not fit into it and is left out. BMP holds neither profile nor
    EXIF. A TIFF of 16-bit grey with transparency is written as RGBA, because hardly anything reads the other. Missing
    folders are made; an existing file is replaced at the very end, or not at all.

    Args:
        picture: what to write.
        path: the file; its suffix gives the format.
        format: PNG, JPEG, WebP, TIFF, AVIF or BMP, when the suffix does not tell.
        quality: 1 to 100, for JPEG (default 95), WebP and AVIF (default 90); the others have none.

    Raises:
        RestoreError: unknown format, one that holds no transparency or no such size, or the file cannot be written.

    """
    name = output_format(path, format)
    data = _named(path, lambda: encode(picture, name, quality))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_animation(frames: Sequence[np.ndarray], path: str | Path, *, duration_ms: int) -> None:
    """Writes frames as an endless GIF or animated WebP.

    Args:
        frames: (H, W) grey or (H, W, 3) RGB, uint8 or uint16, all of one size.
        path: a file in .gif or .webp.
        duration_ms: how long each frame stays; GIF counts in 10 ms.

    Raises:
        RestoreError: another suffix, no frames, frames of several sizes, or the file cannot be written.

    """
    name = _ANIMATIONS.get(Path(path).suffix.lower())
    if name is None:
        raise RestoreError(f"{path}: no suffix of an animation; name it {' or '.join(_ANIMATIONS)}")
    data = _named(path, lambda: encode_animation(frames, name, duration_ms))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def output_format(path: str | Path, format: str | None = None) -> str:
    """Pillow's name of the format to write, from `format` or else from the suffix.

    Raises RestoreError for one that cannot be written: worth asking before long work.
    """
    suffix = f".{format.lower()}" if format else Path(path).suffix.lower()
    name = _FORMATS.get(suffix)
    if name is None:
        what = f"unknown format {format!r}" if format else f"unknown suffix {suffix!r}" if suffix else "no suffix"
        raise RestoreError(f"{path}: {what}; choose one of {' '.join(_FORMATS)}")
    Image.init()
    if name not in Image.SAVE:
        raise RestoreError(f"{path}: this Pillow cannot write {name}; pip install -U pillow, or write .png")
    return name


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path`, which becomes `path` when the block ends well and vanishes when it does not.

    Missing folders are made. What stood at `path` stays as it was until the new file is on the disk.

    Raises:
        RestoreError: for any OSError in the block or around it: full disk, no permission, a folder of that name.

    """
    temporary = None
    try:
        # A link stays a link: it is the file behind it that is replaced.
        target = Path(os.path.realpath(path))
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _fresh_file(target)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = _WAYS_OUT.get(error.errno or 0, f"{error.strerror or error}; write elsewhere")
        raise RestoreError(f"{path}: cannot be written: {reason}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _check_replaceable(target: Path) -> None:
    """OSError where renaming a file to `target` would do harm (a device) or fail late (a folder)."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")


def _fresh_file(target: Path) -> Path:
    """A new empty file beside `target`, with the permissions of any new file, hidden and by its name no picture."""
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _named(path: str | Path, encoded: Callable[[], bytes]) -> bytes:
    """The encoded bytes; whatever an encoder raises becomes one line that names the file."""
    try:
        return encoded()
    except RestoreError as error:
        raise RestoreError(f"{path}: {error}") from None
    except MemoryError:
        raise RestoreError(f"{path}: too large for this computer's memory; write a smaller picture") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RestoreError(f"{path}: cannot be encoded ({reason}); write it as .png") from error
