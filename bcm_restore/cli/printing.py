"""What people read: one line a fact, safe for any terminal, results on stdout and everything else on stderr."""

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
_called: dict[str, str] = {}


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
    """Results are printed on stderr, as stdout is for a picture; all at the end, if that comes."""
    global _results
    _results = "held"
    try:
        yield
        for text in _held:
            note(text)
    finally:
        _held.clear()
        _results = "stdout"


def call(path: Path, name: str) -> None:
    """Has a temporary file called by another name from now on."""
    _called[str(path)] = name


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
    """For `warnings.showwarning`: what the package warns of is a line like any other."""
    if issubclass(category, RestoreWarning):
        note(f"warning: {message}")
    else:
        _show_warning(message, category, filename, lineno, file, line)


def printable(text: str) -> str:
    """The text on one line, with control characters and stray bytes of file names escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def document(content: Any, indent: int | None = 2) -> None:
    """A JSON document on stdout; ASCII, so that no file name can be without an encoding."""
    with STREAMS:
        _print(json.dumps(content, indent=indent), "stdout")


def send(data: bytes) -> None:
    """The bytes of a picture, on stdout.

    Raises:
        BrokenPipeError: nobody reads stdout any longer.
        RestoreError: stdout can't be written to.
    """
    with STREAMS, _written("stdout"):  # it may be silenced
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def discard_results() -> None:
    """What is still to be printed on stdout goes nowhere: a pipe that is closed would raise again at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _line(text: str, name: str) -> None:
    with STREAMS:  # before looking the stream up: it may be a silenced one
        encoding = getattr(sys, name).encoding or "utf-8"
        _print(printable(text).encode(encoding, "backslashreplace").decode(encoding), name)


def _print(text: str, name: str) -> None:
    """Prints on a standard stream.

    Raises:
        BrokenPipeError: nobody reads stdout any longer.
        RestoreError: stdout can't be written to.
    """
    for path, given in _called.items():
        text = text.replace(path, given)
    with _written(name):
        print(text, file=getattr(sys, name), flush=True)


@contextlib.contextmanager
def _written(name: str) -> Iterator[None]:
    """What is written in the block to a standard stream, and what is raised where it can't be: see `_print`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if name == "stdout":  # where stderr can't be written to, there is nobody to tell
            discard_results()
            raise RestoreError(f"standard output: cannot be written ({error.strerror or error})") from error
