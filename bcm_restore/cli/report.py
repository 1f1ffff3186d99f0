"""What a command says of the pictures: a line each, what failed at the end, or a JSON document."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import RestoreError
from . import printing
from .inputs import Job
from .options import Batch, Common, Report

if TYPE_CHECKING:
    from ..schemes import Progress
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
    status: str = "interrupted"  # until it is restored, copied, skipped, kept, left or failed
    scheme: str | None = None
    nfe: int | None = None
    case: str | None = None
    size: tuple[int, int] | None = None  # width and height of the output
    mse: float | None = None  # of a reconstruction
    seconds: float = 0.0
    error: str | None = None  # why it failed
    remark: str | None = None  # why it was skipped, copied or kept, or what was found in it

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
def timed(*outcomes: Outcome) -> Iterator[None]:
    """Adds how long the block takes, to each an equal part."""
    start = time.perf_counter()
    try:
        yield
    finally:
        part = (time.perf_counter() - start) / len(outcomes)
        for outcome in outcomes:
            outcome.seconds = round(outcome.seconds + part, 3)


class Log:
    """What is said while pictures are restored, and at the end, however that comes.

    Args:
        jobs: the pictures.
        header: what the report says of them all.
        options: what was asked for.
        single: the only picture is a file that was named: its error is the command's.

    Attributes:
        outcomes: of each picture, in the order of the jobs.
    """

    def __init__(self, jobs: Sequence[Job], header: Header, options: Batch, single: bool) -> None:
        self._jobs, self._header, self._options, self._single = jobs, header, options, single
        self.outcomes = [Outcome(str(job.source)) for job in jobs]

    def __enter__(self) -> "Log":
        from .progress import Bar

        self._bar = Bar(len(self._jobs))
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._bar.__exit__(kind, error, trace)
        if isinstance(error, KeyboardInterrupt) and not self._single:
            done = sum(outcome.status != "interrupted" for outcome in self.outcomes)
            how = "the same command" if all(job.root for job in self._jobs) else "--resume"
            printing.note(f"{done} of {len(self._jobs)} files done; {how} goes on from there")
        finish(self.outcomes, self._header, self._options)

    @property
    def progress(self) -> "Progress":
        """To be told of (done, in all) within the current picture."""
        return self._bar.evaluation

    def done(self, number: int, outcome: Outcome, error: Exception | None = None) -> None:
        """Tells of a picture.

        Args:
            number: which it is.
            outcome: what became of it.
            error: what went wrong, for its traceback.

        Raises:
            Exception: the error of a picture that stands alone.
        """
        self.outcomes[number] = outcome
        if error and self._single:
            outcome.fail(error)  # even if it would be skipped in a folder
            raise error
        tell_failure(outcome, self._options, error)
        idle = outcome.status in ("kept", "left")
        self._bar.file(0 if idle else outcome.pixels)
        if outcome.output and not idle and not self._options.json:
            printing.result(summary(outcome))


def tell_failure(outcome: Outcome, options: Report, error: Exception | None = None) -> None:
    """The line of a picture that failed."""
    if outcome.status != "failed":
        return
    if error and options.debug:
        printing.trace(error)
    printing.note(f"error: {outcome.error}")


def summary(outcome: Outcome) -> str:
    """One line on what was done."""
    assert outcome.size is not None
    width, height = outcome.size
    mse = "" if outcome.mse is None else f", MSE {outcome.mse:.5f}"
    made = "" if outcome.nfe is None else f"{width}x{height}, NFE {outcome.nfe}{mse}, {outcome.seconds:.1f} s"
    how = "; ".join(filter(None, [made, outcome.remark]))
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
    left = sum(outcome.status == "left" for outcome in outcomes)
    if left:
        printing.note(f"{left} of {len(outcomes)} pictures are left to the other runs in the folder")
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
