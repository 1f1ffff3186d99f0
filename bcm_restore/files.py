"""Files that are written completely or not at all."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import DiskFull, RestoreError

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


_CHUNK = 1 << 20
_STEM = 40  # characters of a file's name that its temporary file's name keeps


def located(name: str) -> Path:
    """The path of that name; for a URL such as s3://bucket/folder, an object with the methods of a path.

    Raises:
        RestoreError: the name is empty, a package that the URL needs is missing, or the file system is unknown.

    """
    if not name:  # to Path it is the current folder
        raise RestoreError("'': an empty name; name a file or folder (. is the current folder)")
    protocol, is_url, rest = name.partition("://")
    if not is_url:
        return Path(name)
    if protocol == "file":
        from urllib.request import url2pathname  # imports http and email

        return Path(url2pathname(rest))
    try:
        from upath import UPath
    except ImportError:
        raise RestoreError(f'{name}: URLs need universal-pathlib; pip install "bcm-restore[ray]"') from None
    try:
        path: Any = UPath(name)
        _ = path.fs  # imports what the protocol needs
    except (ImportError, ValueError) as error:
        raise RestoreError(f"{name}: {error}") from None
    return path


def is_remote(path: str | Path) -> bool:
    """Whether `located` returned it for a URL: no locks, links or permissions, and no appending to files."""
    return not isinstance(path, str | Path)


def identity(path: Path) -> str:
    """A key that is the same for all names of a file."""
    # realpath, because Path.resolve raises for circular links
    return str(path) if is_remote(path) else os.path.realpath(path)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary file beside `path`; it becomes `path` if the block succeeds and is removed if it fails.

    Missing folders are created. An existing file at `path` is kept until the new one is on the disk. For a URL the
    temporary file is local, and sent as a whole.

    Raises:
        RestoreError: for any OSError in the block or around it: full disk, no permission, a folder of that name.

    """
    if is_remote(path):
        with explained(path), tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "part"
            yield temporary
            put(path, temporary.read_bytes())
        return
    with explained(path):
        # A link stays a link: its target is replaced.
        target = Path(os.path.realpath(path))
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _fresh_file(target)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def put(path: Any, data: bytes) -> None:
    """Writes the file of a URL as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.fs.pipe_file(path.path, data)


@contextlib.contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turns an OSError of the block into one line that says why `path` cannot be written.

    Raises:
        DiskFull: for an OSError because the disk or the quota is full.
        RestoreError: for any other OSError.

    """
    try:
        yield
    except OSError as error:
        reason = _WAYS_OUT.get(error.errno or 0, f"{error.strerror or error}; write elsewhere")
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else RestoreError
        raise kind(f"{path}: cannot be written: {reason}") from error


def sweep(paths: Iterable[Path]) -> None:
    """Removes the temporary files of `atomic_path` that a killed process left beside `paths`.

    No other process may be writing them.
    """
    names: dict[Path, set[str]] = {}
    for path in paths:
        if not is_remote(path):
            names.setdefault(path.parent, set()).add(path.name[:_STEM])
    for folder, stems in names.items():
        for leftover in folder.glob(".*.part"):
            match = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}\.part", leftover.name, re.DOTALL)
            if match and match[1] in stems:
                with contextlib.suppress(OSError):
                    leftover.unlink()


def digest(path: Path, progress: Callable[[int, int], None] | None = None) -> str:
    """SHA-256 of a file.

    Args:
        path: the file.
        progress: called with (bytes done, total bytes).

    Raises:
        RestoreError: the file cannot be read.

    """
    done, sha256 = 0, hashlib.sha256()
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                sha256.update(part)
                done += len(part)
                if progress:
                    progress(done, total)
    except OSError as error:
        raise RestoreError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    return sha256.hexdigest()


def _check_replaceable(target: Path) -> None:
    """Raises OSError if renaming a file to `target` would do harm (a device) or fail late (a folder)."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not an ordinary file")


def _fresh_file(target: Path) -> Path:
    """Creates an empty hidden file beside `target`, with default permissions and without a picture's suffix."""
    temporary = target.with_name(f".{target.name[:_STEM]}.{secrets.token_hex(8)}.part")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary
