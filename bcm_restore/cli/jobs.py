"""The work itself: each picture is restored and written, and what happened is reported."""

import contextlib
import dataclasses
import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import RestoreError
from . import printing
from .inputs import Job
from .options import Common

if TYPE_CHECKING:
    from ..images import Picture
    from ..tasks import Restoration
    from .progress import Bar


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a picture.

    Attributes:
        before, after: the picture, upright.
        restoration: how it came about; None where there was nothing to do.
        remark: why there was nothing to do.
        mse: mean squared error of what was to stay the same.
    """

    before: "Picture"
    after: "Picture"
    restoration: "Restoration | None" = None
    remark: str = ""
    mse: float | None = None


class Skip(RestoreError):  # noqa: N818
    """This task has nothing to do in this file; an error for a picture that stands alone, a remark in a folder."""


@dataclasses.dataclass
class Outcome:
    """One entry of the report."""

    input: str | list[str]
    output: str | list[str] | None = None
    compare: str | None = None
    status: str = "interrupted"  # until it is restored, copied, skipped or failed
    scheme: str | None = None
    nfe: int | None = None
    case: str | None = None
    size: tuple[int, int] | None = None  # width and height of the output
    mse: float | None = None  # of a reconstruction
    seconds: float = 0.0
    error: str | None = None  # why it failed
    remark: str | None = None  # why it was skipped or copied

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.size[0] * self.size[1] if self.size else 0

    def fail(self, error: Exception) -> None:
        """Takes down what went wrong, in a line that names the input."""
        message = printing.describe(error)
        named = isinstance(self.input, list) or self.input in message
        self.status, self.error = "failed", message if named else f"{self.input}: {message}"

    def describe(self, restoration: "Restoration") -> None:
        """Takes over how the picture was restored."""
        self.status = "restored"
        self.scheme, self.nfe, self.case = str(restoration.scheme), restoration.nfe, restoration.case


Work = Callable[[Path, "Bar"], Result]
Header = dict[str, str | int]


def run(jobs: Sequence[Job], work: Work, header: Header, options: Common, single: bool) -> list[Outcome]:
    """Restores one picture after the other; a broken one does not stop the rest.

    Args:
        jobs: what is to be done.
        work: restores the picture of a file.
        header: what the report says of them all.
        options: what was asked for.
        single: the only job is a file that was named: its error is the command's.

    Returns:
        What became of each.

    Raises:
        typer.Exit: with status 1, a picture of several could not be restored.
        Exception: the single picture could not be restored.
    """
    from .progress import Bar

    outcomes: list[Outcome] = []
    try:
        with Bar(len(jobs)) as bar:
            for job in jobs:
                outcome = Outcome(str(job.source))
                outcomes.append(outcome)
                try:
                    with timed(outcome):
                        _restore(job, work, bar, options, outcome)
                except Exception as error:
                    outcome.fail(error)
                    if single:
                        raise
                    _report_failure(error, outcome, options)
                bar.file(outcome.pixels)
                if outcome.output and not options.json:
                    printing.result(summary(outcome))
    except KeyboardInterrupt:
        if not single:
            done = sum(outcome.status != "interrupted" for outcome in outcomes)
            printing.note(f"{done} of {len(jobs)} files done; --resume goes on from there")
        raise
    finally:
        finish(outcomes, header, options)
    if any(outcome.status == "failed" for outcome in outcomes):
        _list_failures(outcomes)
        raise typer.Exit(1)
    return outcomes


@contextlib.contextmanager
def timed(outcome: Outcome) -> Iterator[None]:
    """Takes down how long the block took."""
    start = time.perf_counter()
    try:
        yield
    finally:
        outcome.seconds = round(time.perf_counter() - start, 3)


def _restore(job: Job, work: Work, bar: "Bar", options: Common, outcome: Outcome) -> None:
    from .. import images

    result = work(job.source, bar)
    images.write(result.after, job.target, quality=options.quality)
    if job.compare:
        images.write(side_by_side(result.before, result.after), job.compare)
        outcome.compare = str(job.compare)
    outcome.output = str(job.target)
    height, width = result.after.pixels.shape[:2]
    outcome.size = (width, height)
    outcome.mse = result.mse
    if result.restoration:
        outcome.describe(result.restoration)
    else:
        outcome.status, outcome.remark = "copied", result.remark


def side_by_side(before: "Picture", after: "Picture") -> "Picture":
    """Both in one picture, `before` enlarged to the height of `after`."""
    import cv2
    import numpy as np

    def planes(picture: "Picture") -> np.ndarray:
        shape = picture.pixels.shape[:2]
        opaque = np.full(shape, np.iinfo(picture.pixels.dtype).max, picture.pixels.dtype)
        alpha = opaque if picture.alpha is None else picture.alpha
        return np.dstack([picture.pixels, alpha])

    left, right = planes(before), planes(after)
    if left.shape[0] != right.shape[0]:
        width = max(round(left.shape[1] * right.shape[0] / left.shape[0]), 1)
        left = cv2.resize(left, (width, right.shape[0]), interpolation=cv2.INTER_CUBIC)
    both = np.concatenate([left, right], axis=1)
    colours, alpha = both[:, :, :-1], both[:, :, -1]
    transparent = before.alpha is not None or after.alpha is not None
    pixels = np.ascontiguousarray(colours[:, :, 0] if after.pixels.ndim == 2 else colours)
    return dataclasses.replace(after, pixels=pixels, alpha=np.ascontiguousarray(alpha) if transparent else None)


def summary(outcome: Outcome) -> str:
    """One line on what was done."""
    assert outcome.size is not None
    width, height = outcome.size
    mse = "" if outcome.mse is None else f", MSE {outcome.mse:.5f}"
    how = outcome.remark or f"{width}x{height}, NFE {outcome.nfe}{mse}, {outcome.seconds:.1f} s"
    return f"{_joined(outcome.input)} -> {_joined(outcome.output)} ({how})"


def finish(outcomes: Sequence[Outcome], header: Header, options: Common) -> None:
    """What stands at the end: the JSON document, and what was skipped."""
    if options.json:
        document = {**header, "files": [dataclasses.asdict(outcome) for outcome in outcomes]}
        # ASCII, so that no file name can be without an encoding
        print(json.dumps(document, indent=2), flush=True)
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if skipped:
        printing.note(f"{len(skipped)} of {len(outcomes)} files skipped:")
        for outcome in skipped:
            printing.note(f"  {outcome.remark}")


def _report_failure(error: Exception, outcome: Outcome, options: Common) -> None:
    if isinstance(error, Skip):
        outcome.status, outcome.remark, outcome.error = "skipped", outcome.error, None
        return
    if options.debug:
        traceback.print_exception(error)
    printing.note(f"error: {outcome.error}")


def _list_failures(outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    printing.note(f"{len(failed)} of {len(outcomes)} files failed:")
    for outcome in failed:
        printing.note(f"  {outcome.error}")


def _joined(names: str | list[str] | None) -> str:
    return " + ".join(names) if isinstance(names, list) else str(names)
