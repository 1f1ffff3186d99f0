"""The run over all pictures: what is complete is kept, the rest is restored, and what happened is reported."""

import contextlib
from collections.abc import Iterator, Sequence

import typer

from ..errors import NoRoom
from ..files import sweep
from . import inputs, pipeline, printing
from .inputs import Job
from .manifest import Manifest
from .options import Batch
from .report import Header, Outcome, Skip, finish, list_failures, summary
from .worker import Steps, Ticket, Worker


def run(jobs: Sequence[Job], steps: Steps, header: Header, options: Batch, single: bool) -> None:
    """Restores all pictures that are not complete; a broken one does not stop the rest.

    Args:
        jobs: what is to be done.
        steps: how a picture is restored.
        header: what the report says of them all.
        options: what was asked for.
        single: the only job is a file that was named: its error is the command's.

    Raises:
        typer.Exit: with status 1, a picture of several could not be restored.
        RestoreError: another run is at work in the folder of outputs, or the disk is full.
        Exception: the single picture could not be restored.
    """
    roots = list(dict.fromkeys(job.root for job in jobs if job.root))
    if options.dry_run:
        outcomes = _rehearse(jobs, Worker(steps, options, {root: Manifest(root) for root in roots}), header, options)
    else:
        with contextlib.ExitStack() as folders:
            manifests = {root: folders.enter_context(Manifest(root).opened()) for root in roots}
            sweep(path for job in jobs if job.root for path in job.outputs)
            outcomes = _restore(jobs, Worker(steps, options, manifests), header, options, single)
    if any(outcome.status == "failed" for outcome in outcomes):
        list_failures(outcomes)
        raise typer.Exit(1)


def _restore(jobs: Sequence[Job], worker: Worker, header: Header, options: Batch, single: bool) -> list[Outcome]:
    from .progress import Bar

    outcomes: list[Outcome] = []

    def tickets() -> Iterator[Ticket]:
        for job in jobs:
            outcomes.append(Outcome(str(job.source)))
            yield Ticket(job, outcomes[-1])

    def report(ticket: Ticket, error: Exception | None) -> None:
        outcome = ticket.outcome
        if error:
            outcome.fail(error)
            if single or isinstance(error, NoRoom):
                raise error
            _report_failure(error, outcome, options)
            worker.give_up(ticket)
        kept = outcome.status == "kept"
        bar.file(0 if kept else outcome.pixels)
        if outcome.output and not kept and not options.json:
            printing.result(summary(outcome))

    try:
        with Bar(len(jobs)) as bar:
            pipeline.run(
                tickets(), worker.read, lambda ticket, loaded: worker.restore(ticket, loaded, bar), worker.write, report
            )
    except KeyboardInterrupt:
        if not single:
            done = sum(outcome.status != "interrupted" for outcome in outcomes)
            how = "the same command" if all(job.root for job in jobs) else "--resume"
            printing.note(f"{done} of {len(jobs)} files done; {how} goes on from there")
        raise
    finally:
        finish(outcomes, header, options)
    return outcomes


def _rehearse(jobs: Sequence[Job], worker: Worker, header: Header, options: Batch) -> list[Outcome]:
    """Says what would be done.

    Raises:
        RestoreError: outputs exist that the run would refuse to replace.
    """
    task = str(header["task"])
    refused = set() if options.overwrite or options.resume else set(inputs.foreign(jobs, task))
    outcomes = []
    for job in jobs:
        outcome = Outcome(str(job.source), str(job.target))
        outcomes.append(outcome)
        try:
            verdict = worker.judge(job)
        except Exception as error:
            outcome.fail(error)
            _report_failure(error, outcome, options)
            continue
        outcome.status, outcome.remark = verdict.action, verdict.reason
        if not refused.isdisjoint(job.outputs):
            outcome.status, outcome.remark = "refuse", "it exists, and no run of this command has made it"
        if not options.json:
            reason = f" ({outcome.remark})" if outcome.remark else ""
            printing.result(f"{outcome.status} {outcome.input} -> {outcome.output}{reason}")
    finish(outcomes, header, options)
    inputs.check_foreign(jobs, task, options)
    return outcomes


def _report_failure(error: Exception, outcome: Outcome, options: Batch) -> None:
    if isinstance(error, Skip):
        outcome.skip()
        return
    if options.debug:
        printing.trace(error)
    printing.note(f"error: {outcome.error}")
