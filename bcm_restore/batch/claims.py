"""Locks between processes, which a killed process cannot leave behind."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


class Claim:
    """A lock that one holds at a time; the system lets go of it when the process ends.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = file_lock(path)

    def take(self) -> bool:
        """Whether it is this object's, which takes it unless another has it."""
        from filelock import Timeout

        try:
            if not self._lock.is_locked:
                self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Lets go of it."""
        self._lock.release()

    def remove(self) -> None:
        """Lets go of it and removes its file."""
        # two may then hold locks of one name, an old file's and a new one's: they would do the same work twice
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.release()


def file_lock(path: Path) -> "BaseFileLock":
    """A lock that may be taken and released by different threads."""
    from filelock import FileLock

    return FileLock(path, thread_local=False)
