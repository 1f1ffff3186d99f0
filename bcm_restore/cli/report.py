"""A command's report on the pictures: a line each and the failures at the end, or a JSON document."""

import dataclasses
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..batch.observer import Observer
from ..batch.outcomes import Header, Outcome, Status
from ..batch.planning import Plan
from ..batch.settings import Settings
from . import printing
from .options import Report

if TYPE_CHECKING:
    from .progress import Bar


class View(Observer):
    """Prints the progress while pictures are restored, and the report at the end, also of an interrupted run.

    Args:
        settings: of the run.
        options: of the command.
        plan: of the run; None: a single picture, whose error is the command's.
        unit: name of what is counted.

    Attributes:
        outcomes: of each picture, in the order of the jobs.
    """

    def __init__(self, settings: Settings, options: Report, plan: Plan | None = None, unit: str = "files") -> None:
        self._dry_run, self._options, self._unit = settings.dry_run, options, unit
        self._single = plan is None or plan.single
        resumes = plan is not None and all(job.root for job in plan.jobs)
        self._resume = "the same command" + ("" if resumes else " with --resume")
        self._header: Header | None = None
        self._bar: Bar | None = None
        self._noted: set[str] = set()
        self._on_sigterm = signal.getsignal(signal.SIGTERM)
        self.outcomes: Sequence[Outcome] = ()

    def __enter__(self) -> "View":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._bar:
            self._bar.__exit__(kind, error, trace)
        if self._header is None:
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted and not self._single and not self._dry_run:
            done = sum(outcome.status != Status.INTERRUPTED for outcome in self.outcomes)
            printing.note(f"{done} of {len(self.outcomes)} files done; {self._resume} resumes the run")
        if not (interrupted and self._dry_run):
            _finish(self.outcomes, self._header, self._options)

    def connected(self) -> None:
        """See `Observer`."""
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def begin(self, header: Header, outcomes: Sequence[Outcome]) -> None:
        """See `Observer`."""
        self._header, self.outcomes = header, outcomes
        if not self._dry_run:
            from .progress import Bar

            self._bar = Bar(len(outcomes), self._unit, quiet=self._options.json).__enter__()

    def progress(self, unit: str, done: int, total: int) -> None:
        """See `Observer`."""
        if self._bar:
            self._bar.progress(unit, done, total)

    def note(self, text: str) -> None:
        """See `Observer`; several processes may note the same."""
        if text not in self._noted:
            self._noted.add(text)
            printing.note(text)

    def done(self, outcome: Outcome, error: Exception | None) -> None:
        """See `Observer`.

        Raises:
            Exception: the error of a single picture.
        """
        if error and self._single and not self._dry_run:
            outcome.fail(error)  # even if it would be skipped in a folder
            raise error
        if outcome.status == Status.FAILED:
            if error and self._options.debug:
                printing.trace(error)
            printing.note(f"error: {outcome.error}")
        if self._bar:
            self._bar.file(0 if outcome.idle else outcome.pixels)
        if self._options.json:
            return
        if self._dry_run and outcome.status != Status.FAILED:
            reason = f" ({outcome.remark})" if outcome.remark else ""
            printing.result(f"{outcome.status} {outcome.input} -> {outcome.output}{reason}")
        elif outcome.output and not outcome.idle and not self._dry_run:
            printing.result(_summary(outcome))

    def list_failures(self) -> bool:
        """Lists the failures again, as the lines of a long run have scrolled away; whether there are any."""
        failed = [outcome for outcome in self.outcomes if outcome.status == Status.FAILED]
        if failed:
            printing.note(f"{len(failed)} of {len(self.outcomes)} files failed:")
        for outcome in failed:
            printing.note(f"  {outcome.error}")
        return bool(failed)


def _summary(outcome: Outcome) -> str:
    """One line about a restored picture."""
    assert outcome.size is not None
    width, height = outcome.size
    mse = "" if outcome.mse is None else f", MSE {outcome.mse:.5f}"
    made = "" if outcome.nfe is None else f"{width}x{height}, NFE {outcome.nfe}{mse}, {outcome.seconds:.1f} s"
    details = "; ".join(filter(None, [made, outcome.remark]))
    return f"{_joined(outcome.input)} -> {_joined(outcome.output)} ({details})"


def _finish(outcomes: Sequence[Outcome], header: Header, options: Report) -> None:
    """The end of the report: the JSON document or the mean error, and how many were kept or skipped."""
    if options.json:
        printing.document({**header, "files": [dataclasses.asdict(outcome) for outcome in outcomes]})
    errors = [outcome.mse for outcome in outcomes if outcome.mse is not None]
    if len(errors) > 1 and not options.json:
        nfe = next(outcome.nfe for outcome in outcomes if outcome.mse is not None)
        printing.result(f"mean MSE {sum(errors) / len(errors):.5f} ({len(errors)} pictures, NFE {nfe})")
    kept = sum(outcome.status == Status.KEPT for outcome in outcomes)
    if kept:
        rest = f"{kept} of {len(outcomes)} outputs exist and are kept"
        printing.note("nothing to do: all outputs exist" if kept == len(outcomes) else rest)
    left = sum(outcome.status == Status.LEFT for outcome in outcomes)
    if left:
        printing.note(f"{left} of {len(outcomes)} pictures are left to the other runs in the folder")
    skipped = [outcome for outcome in outcomes if outcome.status == Status.SKIPPED]
    if skipped:
        printing.note(f"{len(skipped)} of {len(outcomes)} files skipped:")
        for outcome in skipped:
            printing.note(f"  {outcome.remark}")


def _joined(names: str | list[str] | None) -> str:
    return " + ".join(names) if isinstance(names, list) else str(names)
