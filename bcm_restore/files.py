"""Files that are written whole or not at all."""

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
from urllib.request import url2pathname

from .errors import NoRoom, RestoreError

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
_STEM = 40  # characters of a name that its temporary file's name begins with


def located(name: str) -> Path:
    """The path of that name; for a URL of another file system, such as s3://bucket/folder, what has a path's methods.

    Raises:
        RestoreError: the name is empty, a package is missing that the URL needs, or there is no such file system.

    """
    if not name:  # to Path it is the current folder
        raise RestoreError("'': an empty name; name a file or folder (. is the current folder)")
    protocol, is_url, rest = name.partition("://")
    if not is_url:
        return Path(name)
    if protocol == "file":
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
    """Whether `located` gave it for a URL: there are no locks, links or permissions, and no file can be appended to."""
    return not isinstance(path, str | Path)


def identity(path: Path) -> str:
    """The same for all names that lead to a file."""
    # realpath, because Path.resolve raises for links that go in circles
    return str(path) if is_remote(path) else os.path.realpath(path)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path`, which becomes `path` when the block ends well and vanishes when it does not.

    Missing folders are made. What stood at `path` stays as it was until the new file is on the disk. For a URL the
    temporary file is on this computer, and sent as a whole.

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
        # A link stays a link: it is the file behind it that is replaced.
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
    """Says in one line why the block could not write to `path`.

    Raises:
        NoRoom: for an OSError because the disk or the quota is full.
        RestoreError: for any other OSError.

    """
    try:
        yield
    except OSError as error:
        reason = _WAYS_OUT.get(error.errno or 0, f"{error.strerror or error}; write elsewhere")
        kind = NoRoom if error.errno in (errno.ENOSPC, errno.EDQUOT) else RestoreError
        raise kind(f"{path}: cannot be written: {reason}") from error


def sweep(paths: Iterable[Path]) -> None:
    """Removes the temporary files of `atomic_path` that a killed process left beside `paths`.

    Only for who knows that no other process is writing them.
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
        progress: called with (bytes done, bytes in all).

    Raises:
        RestoreError: it can't be read.

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
    """OSError where renaming a file to `target` would do harm (a device) or fail late (a folder)."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")


def _fresh_file(target: Path) -> Path:
    """A new empty file beside `target`, with the permissions of any new file, hidden and by its name no picture."""
    temporary = target.with_name(f".{target.name[:_STEM]}.{secrets.token_hex(8)}.part")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary
