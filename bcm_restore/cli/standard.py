"""`-` in place of a file: standard input and standard output."""

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import RestoreError
from . import printing
from .options import Common

STREAM = "-"

Options = TypeVar("Options", bound=Common)


@contextlib.contextmanager
def spooled(arguments: Sequence[str], options: Options) -> Iterator[tuple[list[str], Options]]:
    """The arguments and options with temporary files for `-`; the output's file is sent to stdout at the end.

    An input `-` goes to standard output unless `-o` names another place.

    Args:
        arguments: the inputs as typed.
        options: of the command.

    Raises:
        RestoreError: a stream is a terminal, or an option does not fit it.
    """
    given = STREAM in arguments
    sends = options.output == STREAM or (given and options.output is None)
    if not given and not sends:
        yield list(arguments), options
        return
    if arguments.count(STREAM) > 1:
        raise RestoreError("-: standard input holds one picture; name a file for the other")
    if sends:
        _check_output(options)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as sending:
        source, target = Path(folder, "stdin"), Path(folder, f"stdout{_suffix(options)}")
        if given:
            printing.show_as(source, STREAM)
            source.write_bytes(_received())
        if sends:
            printing.show_as(target, STREAM)
            options = dataclasses.replace(options, output=str(target), overwrite=False)
            sending.enter_context(printing.results_on_stderr())
        yield [str(source) if argument == STREAM else argument for argument in arguments], options
        if sends and target.exists():
            printing.send(target.read_bytes())


def _check_output(options: Common) -> None:
    """Refuses a terminal, and options that do not fit standard output."""
    if sys.stdout.isatty():
        raise RestoreError("standard output is a terminal; send it to a file or another program, or give -o FILE")
    for name, wanted in (("--json", options.json), ("--compare", options.compare)):
        if wanted:
            raise RestoreError(f"{name}: standard output is used for the picture; give -o FILE")


def _suffix(options: Common) -> str:
    return options.format.suffix if options.format else ".png"


def _received() -> bytes:
    if sys.stdin.isatty():
        raise RestoreError("-: standard input is a terminal; send a picture to it (< photo.png)")
    return sys.stdin.buffer.read()
