"""What a command says of the pictures: a line each, what failed at the end, or a JSON document."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import RestoreError
from . import printing
from .options import Common

if TYPE_CHECKING:
    from ..tasks import Restoration

Header = dict[str, str | int]


class Skip(RestoreError):  # noqa: N818
    """This task has nothing to do in this file; an error for a picture that stands alone, a remark in a folder."""


@dataclasses.dataclass
class Outcome:
    """One entry of the report."""

    input: str | list[str]
    output: str | list[str] | None = None
    compare: str | None = None
    status: str = "interrupted"  # until it is restored, copied, skipped, kept or failed
    scheme: str | None = None
    nfe: int | None = None
    case: str | None = None
    size: tuple[int, int] | None = None  # width and height of the output
    mse: float | None = None  # of a reconstruction
    seconds: float = 0.0
    error: str | None = None  # why it failed
    remark: str | None = None  # why it was skipped, copied or kept

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.size[0] * self.size[1] if self.size else 0

    def fail(self, error: Exception) -> None:
        """Takes down what went wrong, in a line that names the input."""
        message = printing.describe(error)
        named = isinstance(self.input, list) or self.input in message
        self.status, self.error = "failed", message if named else f"{self.input}: {message}"

    def skip(self) -> None:
        """Turns a failure into a remark."""
        self.status, self.remark, self.error = "skipped", self.error, None

    def describe(self, restoration: "Restoration") -> None:
        """Takes over how the picture was restored."""
        self.status = "restored"
        self.scheme, self.nfe, self.case = str(restoration.scheme), restoration.nfe, restoration.case


@contextlib.contextmanager
def timed(outcome: Outcome) -> Iterator[None]:
    """Adds how long the block takes."""
    start = time.perf_counter()
    try:
        yield
    finally:
        outcome.seconds = round(outcome.seconds + time.perf_counter() - start, 3)


def summary(outcome: Outcome) -> str:
    """One line on what was done."""
    assert outcome.size is not None
    width, height = outcome.size
    mse = "" if outcome.mse is None else f", MSE {outcome.mse:.5f}"
    how = outcome.remark or f"{width}x{height}, NFE {outcome.nfe}{mse}, {outcome.seconds:.1f} s"
    return f"{_joined(outcome.input)} -> {_joined(outcome.output)} ({how})"


def finish(outcomes: Sequence[Outcome], header: Header, options: Common) -> None:
    """What stands at the end: the JSON document or the mean error, and what was kept or skipped."""
    if options.json:
        document = {**header, "files": [dataclasses.asdict(outcome) for outcome in outcomes]}
        # ASCII, so that no file name can be without an encoding
        print(json.dumps(document, indent=2), flush=True)
    errors = [outcome.mse for outcome in outcomes if outcome.mse is not None]
    if len(errors) > 1 and not options.json:
        nfe = next(outcome.nfe for outcome in outcomes if outcome.mse is not None)
        printing.result(f"mean MSE {sum(errors) / len(errors):.5f} ({len(errors)} pictures, NFE {nfe})")
    kept = sum(outcome.status == "kept" for outcome in outcomes)
    if kept:
        rest = f"{kept} of {len(outcomes)} outputs are there and are kept"
        printing.note("nothing to do: all outputs are there" if kept == len(outcomes) else rest)
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if skipped:
        printing.note(f"{len(skipped)} of {len(outcomes)} files skipped:")
        for outcome in skipped:
            printing.note(f"  {outcome.remark}")


def list_failures(outcomes: Sequence[Outcome]) -> None:
    """What failed, once more: the lines of a long run have scrolled away."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    printing.note(f"{len(failed)} of {len(outcomes)} files failed:")
    for outcome in failed:
        printing.note(f"  {outcome.error}")


def _joined(names: str | list[str] | None) -> str:
    return " + ".join(names) if isinstance(names, list) else str(names)
