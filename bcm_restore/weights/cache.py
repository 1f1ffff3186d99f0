"""The folder of fetched and imported weights: one file each, and beside it a record of what it must be."""

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
POLL = 0.2  # seconds between looks at whether another process is done

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all where that is known
Note = Callable[[str], None]  # a line about the work


def silent(*facts: object) -> None:
    """Progress and notes that nobody reads."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a file in the cache: it stands beside the file, as NAME.json."""

    file: str  # its name
    size: int
    sha256: str
    kind: str  # model, start or metric
    source: str  # URL or path that it came from
    source_file: str  # the published file, within an archive or by itself
    source_sha256: str  # of the published file, before it was converted
    licence: str = ""


def folder() -> Path:
    """The cache: below $BCM_RESTORE_HOME, or else the platform's folder for caches."""
    home = os.environ.get(HOME)
    return (Path(home).expanduser() if home else _platform_folder() / "bcm-restore") / "weights"


def names() -> list[str]:
    """Names of the weights in the cache."""
    return sorted(path.stem for path in folder().glob("*.json") if find(path.stem))


def find(name: str) -> Path | None:
    """The file of these weights, None where the cache has none.

    Raises:
        RestoreError: its record is damaged.
    """
    record = read(name)
    path = folder() / record.file if record else None
    return path if path and path.is_file() else None


def read(name: str) -> Record | None:
    """The record of these weights.

    Raises:
        RestoreError: it is damaged.
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
            f"{path}: not a readable record; 'bcm-restore weights remove {name}', then fetch it again"
        ) from error


def write(name: str, record: Record) -> None:
    """Writes the record of these weights.

    Raises:
        RestoreError: it can't be written.
    """
    with atomic_path(record_path(name)) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", encoding="utf-8")


def record_path(name: str) -> Path:
    """Where the record of these weights stands."""
    return folder() / f"{name}.json"


def is_name(name: str) -> bool:
    """Whether it can be a name of weights: it is a file's name anywhere, and never a path."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


def verify(name: str, progress: Progress = silent) -> Path:
    """Compares a file with its record, and returns its path.

    Raises:
        RestoreError: there is no such file, or it is not what it was.
    """
    record, path = read(name), find(name)
    if record is None or path is None:
        raise RestoreError(f"'{name}' is not in the cache; there are: {', '.join(names()) or 'none'}")
    if path.stat().st_size != record.size or digest(path, progress) != record.sha256:
        raise RestoreError(f"{path}: is damaged, its SHA-256 is not the recorded one; fetch or import '{name}' again")
    return path


def remove(name: str) -> list[Path]:
    """Removes a file, its record, and what is left of broken transfers; returns what was removed.

    Raises:
        RestoreError: there is nothing of that name, or it is in use.
    """
    if not is_name(name) or not folder().is_dir():
        raise RestoreError(f"'{name}' is not in the cache; there are: {', '.join(names()) or 'none'}")
    with locked(name, None):
        _sweep(name)
        suffixes = (".part", ".resume", ".safetensors", ".pt")
        paths = [record_path(name), *(folder() / f"{name}{suffix}" for suffix in suffixes)]
        with contextlib.suppress(RestoreError):  # a record that is damaged goes as well
            paths += [path] if (path := find(name)) else []
        there = [path for path in dict.fromkeys(paths) if path.exists()]
        if not there:
            raise RestoreError(f"'{name}' is not in the cache; there are: {', '.join(names()) or 'none'}")
        for path in reversed(there):  # the record last: what is interrupted can be done again
            with _explained(path):
                path.unlink()
        return there


@contextlib.contextmanager
def locked(name: str, note: Note | None) -> Iterator[None]:
    """Keeps other processes off these weights.

    Args:
        name: the weights'.
        note: told that another process is at it, before that is waited for; None: don't wait.

    Raises:
        RestoreError: another process is at it, or the folder can't be written to.
    """
    from filelock import FileLock

    path = folder() / f".{name}.busy"
    lock = FileLock(path)
    with _explained(folder()):
        folder().mkdir(parents=True, exist_ok=True)
        if not _taken(lock):
            if note is None:
                raise RestoreError(f"another process is fetching '{name}'; wait until it is done")
            note(f"another process is fetching '{name}'; waiting for it")
            while not _taken(lock):
                time.sleep(POLL)
    try:
        yield
    finally:
        with contextlib.suppress(OSError), _guard():
            lock.release()
            path.unlink()
        lock.release()  # if that has failed


def _taken(lock: "BaseFileLock") -> bool:
    """Takes a lock that nobody has."""
    with _guard():
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            return False
    return True


def _guard() -> "BaseFileLock":
    """Held for a moment by who takes or drops a lock.

    To delete a lock's file is to have two locks, one of them on the deleted file, where others open it meanwhile. The
    guard keeps them from that; its own file is the one that stays.
    """
    from filelock import FileLock

    return FileLock(folder() / ".cache.lock")


@contextlib.contextmanager
def workspace(name: str) -> Iterator[Path]:
    """A folder inside the cache, on the same disk, that vanishes with what is in it; only for who holds the lock.

    Raises:
        RestoreError: it can't be made.
    """
    _sweep(name)
    with _explained(folder()):
        path = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=folder()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _sweep(name: str) -> None:
    """Takes away the workspaces of processes that were killed."""
    for stale in folder().glob(f".{name}.tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """An OSError as one line."""
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
    return Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"  # as XDG says of relative paths
