"""What people read: one line a fact, safe for any terminal, results on stdout and everything else on stderr."""

import os
import sys
import traceback
import warnings
from typing import TextIO

from ..errors import RestoreError, RestoreWarning
from ..streams import STREAMS

_show_warning = warnings.showwarning


def result(text: str) -> None:
    """A line of the result, on stdout."""
    _line(text, "stdout")


def note(text: str) -> None:
    """A line about the work, on stderr."""
    _line(text, "stderr")


def trace(error: BaseException) -> None:
    """The traceback of an error, on stderr."""
    with STREAMS:
        traceback.print_exception(error)


def warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """For `warnings.showwarning`: what the package warns of is a line like any other."""
    if issubclass(category, RestoreWarning):
        note(f"warning: {message}")
    else:
        _show_warning(message, category, filename, lineno, file, line)


def describe(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, RestoreError):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    first_line = (str(error).strip().splitlines() or ["no further message"])[0]
    return f"{type(error).__name__}: {first_line}; run again with --debug to see where"


def printable(text: str) -> str:
    """The text on one line, with control characters and stray bytes of file names escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _line(text: str, name: str) -> None:
    with STREAMS:  # before looking the stream up: it may be a silenced one
        stream: TextIO = getattr(sys, name)
        encoding = stream.encoding or "utf-8"
        print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
