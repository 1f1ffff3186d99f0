"""The cache of downloaded and imported weights: one file each, with a record of its source and checksum."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RestoreError
from ..files import atomic_path, digest

if TYPE_CHECKING:
    from filelock import BaseFileLock

HOME = "BCM_RESTORE_HOME"
POLL = 0.2  # seconds between attempts to acquire a lock

Progress = Callable[[int, int | None], None]  # bytes done, total bytes if known
Note = Callable[[str], None]  # a message for the user


def silent(*facts: object) -> None:
    """Ignores progress and notes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a file in the cache, stored beside it as NAME.json."""

    file: str  # file name
    size: int  # bytes
    sha256: str
    kind: str  # model, start or metric
    source: str  # URL or path
    source_file: str  # name of the published file, which may be in an archive
    source_sha256: str  # of the published file, before conversion
    licence: str = ""


def folder() -> Path:
    """The cache: below $BCM_RESTORE_HOME, or else in the platform's cache folder."""
    home = os.environ.get(HOME)
    return (Path(home).expanduser() if home else _platform_folder() / "bcm-restore") / "weights"


def names() -> list[str]:
    """The names of the weights in the cache."""
    return sorted(path.stem for path in folder().glob("*.json") if find(path.stem))


def find(name: str) -> Path | None:
    """The file of weights in the cache, or None.

    Raises:
        RestoreError: the record is damaged.
    """
    record = read(name)
    path = folder() / record.file if record else None
    return path if path and path.is_file() else None


def read(name: str) -> Record | None:
    """Reads the record of weights; None if there is none.

    Raises:
        RestoreError: the record is damaged.
    """
    if not is_name(name):
        return None
    path = record_path(name)
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RestoreError(
            f"{path}: not a readable record; 'bcm-restore weights remove {name}', then download it again"
        ) from error


def write(name: str, record: Record) -> None:
    """Writes the record of weights.

    Raises:
        RestoreError: the record cannot be written.
    """
    with atomic_path(record_path(name)) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", encoding="utf-8")


def record_path(name: str) -> Path:
    """The path of the record of weights."""
    return folder() / f"{name}.json"


def is_name(name: str) -> bool:
    """Whether it is a valid name of weights: a portable file name, not a path."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


def verify(name: str, progress: Progress = silent) -> Path:
    """Verifies a file against its record and returns its path.

    Raises:
        RestoreError: the file is not in the cache, or has changed.
    """
    record, path = read(name), find(name)
    if record is None or path is None:
        raise _missing(name)
    if path.stat().st_size != record.size or digest(path, progress) != record.sha256:
        raise RestoreError(f"{path}: damaged, its SHA-256 is not the recorded one; download or import '{name}' again")
    return path


def _missing(name: str) -> RestoreError:
    return RestoreError(f"'{name}' is not in the cache, which has: {', '.join(names()) or 'nothing'}")


def remove(name: str) -> list[Path]:
    """Removes a file, its record, and partial downloads; returns the removed paths.

    Raises:
        RestoreError: the cache has nothing of that name, or it is in use.
    """
    if not is_name(name) or not folder().is_dir():
        raise _missing(name)
    with locked(name, None):
        _sweep(name)
        suffixes = (".part", ".resume", ".safetensors", ".pt")
        paths = [record_path(name), *(folder() / f"{name}{suffix}" for suffix in suffixes)]
        with contextlib.suppress(RestoreError):  # a damaged record is removed, too
            paths += [path] if (path := find(name)) else []
        existing = [path for path in dict.fromkeys(paths) if path.exists()]
        if not existing:
            raise _missing(name)
        for path in reversed(existing):  # the record last, so that an interrupted removal can be repeated
            with _explained(path):
                path.unlink()
        return existing


@contextlib.contextmanager
def locked(name: str, note: Note | None) -> Iterator[None]:
    """Locks weights against other processes.

    Args:
        name: of the weights.
        note: called before waiting for another process; None: do not wait.

    Raises:
        RestoreError: another process has the lock, or the folder is not writable.
    """
    from filelock import FileLock

    path = folder() / f".{name}.busy"
    lock = FileLock(path)
    with _explained(folder()):
        folder().mkdir(parents=True, exist_ok=True)
        if not _acquire(lock):
            if note is None:
                raise RestoreError(f"another process is downloading '{name}'; wait until it is done")
            note(f"another process is downloading '{name}'; waiting for it")
            while not _acquire(lock):
                time.sleep(POLL)
    try:
        yield
    finally:
        with contextlib.suppress(OSError), _guard():
            lock.release()
            path.unlink()
        lock.release()  # if the block above failed


def _acquire(lock: "BaseFileLock") -> bool:
    """Acquires a lock if it is free."""
    with _guard():
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            return False
    return True


def _guard() -> "BaseFileLock":
    """A lock to hold while acquiring or releasing another lock.

    Without it, a process could open another lock's file just before it is deleted, and lock the deleted file. The
    guard's own file is never deleted.
    """
    from filelock import FileLock

    return FileLock(folder() / ".cache.lock")


@contextlib.contextmanager
def workspace(name: str) -> Iterator[Path]:
    """A temporary folder in the cache, so on the same disk; requires the lock.

    Raises:
        RestoreError: the folder cannot be created.
    """
    _sweep(name)
    with _explained(folder()):
        path = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=folder()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _sweep(name: str) -> None:
    """Removes the workspaces of killed processes."""
    for stale in folder().glob(f".{name}.tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Converts an OSError to a one-line RestoreError."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RestoreError(f"{path}: {reason}; {HOME} chooses another folder") from error


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"  # XDG ignores relative paths
