"""Locks between processes, which are released when their process ends."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


class Claim:
    """A lock with one holder at a time; the system releases it when the process ends.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = file_lock(path)

    def take(self) -> bool:
        """Takes the lock unless another object holds it; whether this object holds it."""
        from filelock import Timeout

        try:
            if not self._lock.is_locked:
                self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Releases the lock."""
        self._lock.release()

    def remove(self) -> None:
        """Releases the lock and removes its file."""
        # two processes may then hold locks of one name, of the old and of a new file: they do the same work twice
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.release()


def file_lock(path: Path) -> "BaseFileLock":
    """A lock that may be taken and released by different threads."""
    from filelock import FileLock

    return FileLock(path, thread_local=False)
