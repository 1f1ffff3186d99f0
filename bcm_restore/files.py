"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from .errors import RestoreError

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
