"""Errors for the user, and how errors are worded."""

import os
import traceback
from collections.abc import Iterable


class RestoreError(ValueError):
    """An error that the user can fix: a bad file, option, mask or scheme.

    The message is one line that names the file or option and the fix. The command line prints it and exits with
    status 2, without a traceback.
    """


class RestoreWarning(UserWarning):
    """A warning for the user; processing continues. The command line prints it as one line."""


class DiskFull(RestoreError):  # noqa: N818
    """The disk or the quota is full: all further writes will fail too."""


class NothingToRestore(RestoreError):  # noqa: N818
    """The input shows no sign of the damage that the task undoes."""


def describe(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, RestoreError):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    first_line = (str(error).strip().splitlines() or ["no further message"])[0]
    return f"{type(error).__name__}: {first_line}; run again with --debug to see where"


def instead(name: str, known: Iterable[str], otherwise: str = "choose one of") -> str:
    """What to give instead of an unknown name: the most similar one, or any of them all."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean '{close[0]}'?" if close else f"{otherwise} {', '.join(names)}"


def portable(error: Exception) -> RestoreError:
    """An error of the same meaning that can be sent to other processes, with its traceback."""
    kind = type(error) if isinstance(error, RestoreError) else RestoreError
    found = kind(describe(error))
    vars(found)["_traceback"] = traced(error)
    return found


def traced(error: BaseException) -> str:
    """The traceback of an error, also of one that comes from another process."""
    return vars(error).get("_traceback") or "".join(traceback.format_exception(error))
