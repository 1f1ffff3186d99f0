"""Printed output: a line for each fact, safe for any terminal; results on stdout, everything else on stderr."""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ..errors import RestoreError, RestoreWarning, traced
from ..streams import STREAMS

_show_warning = warnings.showwarning
_results = "stdout"
_held: list[str] = []
_shown_as: dict[str, str] = {}


def result(text: str) -> None:
    """A line of the result, on stdout."""
    if _results == "held":
        _held.append(text)
    else:
        _line(text, _results)


def note(text: str) -> None:
    """A line about the work, on stderr."""
    _line(text, "stderr")


@contextlib.contextmanager
def results_on_stderr() -> Iterator[None]:
    """Prints results on stderr, as stdout is used for a picture; all at the end, none after an error."""
    global _results
    _results = "held"
    try:
        yield
        for text in _held:
            note(text)
    finally:
        _held.clear()
        _results = "stdout"


def show_as(path: Path, name: str) -> None:
    """Replaces the path of a temporary file by another name in all further output."""
    _shown_as[str(path)] = name


def trace(error: BaseException) -> None:
    """The traceback of an error, on stderr."""
    with STREAMS:
        print(traced(error), file=sys.stderr, end="", flush=True)


def warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """For `warnings.showwarning`: prints a warning of the package as one line."""
    if issubclass(category, RestoreWarning):
        note(f"warning: {message}")
    else:
        _show_warning(message, category, filename, lineno, file, line)


def printable(text: str) -> str:
    """The text on one line, with control characters and undecodable bytes of file names escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def document(content: Any, indent: int | None = 2) -> None:
    """A JSON document on stdout, in ASCII, so that any file name can be encoded."""
    with STREAMS:
        _print(json.dumps(content, indent=indent), "stdout")


def send(data: bytes) -> None:
    """The bytes of a picture, on stdout.

    Raises:
        BrokenPipeError: the reader has closed stdout.
        RestoreError: stdout cannot be written.
    """
    with STREAMS, _written("stdout"):  # it may be silenced
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def discard_results() -> None:
    """Discards what is still to be printed on stdout: a closed pipe would raise again at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _line(text: str, name: str) -> None:
    with STREAMS:  # before the stream is looked up: it may be silenced
        encoding = getattr(sys, name).encoding or "utf-8"
        _print(printable(text).encode(encoding, "backslashreplace").decode(encoding), name)


def _print(text: str, name: str) -> None:
    """Prints on a standard stream.

    Raises:
        BrokenPipeError: the reader has closed stdout.
        RestoreError: stdout cannot be written.
    """
    for path, given in _shown_as.items():
        text = text.replace(path, given)
    with _written(name):
        print(text, file=getattr(sys, name), flush=True)


@contextlib.contextmanager
def _written(name: str) -> Iterator[None]:
    """Turns errors of writing to a standard stream in the block into those of `_print`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if name == "stdout":  # if stderr cannot be written, the error cannot be reported
            discard_results()
            raise RestoreError(f"standard output: cannot be written ({error.strerror or error})") from error
