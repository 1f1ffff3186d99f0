"""The run over all pictures: what is complete is kept, the rest is restored, and what happened is reported."""

import contextlib
import itertools
from collections.abc import Sequence

import typer

from ..files import sweep
from . import devices, inputs, printing
from .inputs import Job
from .manifest import Manifest
from .options import Batch
from .report import Header, Log, Outcome, finish, list_failures, tell_failure
from .worker import Steps, Ticket, Worker, work


def run(jobs: Sequence[Job], steps: Steps, single: bool) -> None:
    """Restores all pictures that are not complete; a broken one does not stop the rest.

    Args:
        jobs: what is to be done.
        steps: how pictures are restored.
        single: the only job is a file that was named: its error is the command's.

    Raises:
        typer.Exit: with status 1, a picture of several could not be restored.
        RestoreError: another run is at work in the folder of outputs, or the disk is full.
        Exception: the single picture could not be restored.
    """
    options = steps.options
    several = devices.names(options.device)[: len(jobs)]
    steps = steps.on(several[0] if len(several) == 1 else "cpu")
    header = steps.header if len(several) == 1 else {**steps.header, "device": ",".join(several)}
    roots = list(dict.fromkeys(job.root for job in jobs if job.root))
    if options.dry_run:
        outcomes = _rehearse(jobs, Worker(steps, {root: Manifest(root) for root in roots}), header, options)
    else:
        with contextlib.ExitStack() as folders:
            manifests = {root: folders.enter_context(Manifest(root).opened(options.join)) for root in roots}
            if not options.join:  # else others are at work
                sweep(path for job in jobs if job.root for path in job.outputs)
            worker = Worker(steps, manifests)
            with Log(jobs, header, options, single) as log:
                if len(several) > 1:
                    devices.share(jobs, steps, several, log)
                else:
                    tickets = map(Ticket, itertools.count(), jobs, log.outcomes)
                    work(tickets, worker, log.progress, lambda one: log.done(one.number, one.outcome, one.error))
            outcomes = log.outcomes
    if any(outcome.status == "failed" for outcome in outcomes):
        list_failures(outcomes)
        raise typer.Exit(1)


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
            tell_failure(outcome, options, error)
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
