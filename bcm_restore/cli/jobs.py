"""The run over all pictures: what is complete is kept, the rest is restored, and what happened is reported."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from ..files import is_remote, sweep
from . import cluster, devices, inputs, printing
from .inputs import Job
from .manifest import BEGUN, Record, Records, manifest_of
from .options import Batch, Runner
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
    cluster.check(steps.options)
    if steps.options.dry_run:
        outcomes = _rehearse(jobs, steps)
    elif steps.options.engine is Runner.RAY:
        outcomes = _run_on_cluster(jobs, steps, single)
    else:
        outcomes = _run_here(jobs, steps, single)
    if any(outcome.status == "failed" for outcome in outcomes):
        list_failures(outcomes)
        raise typer.Exit(1)


def _run_here(jobs: Sequence[Job], steps: Steps, single: bool) -> list[Outcome]:
    """Restores in this process, or in one for each of several devices."""
    options = steps.options
    several = devices.names(options.device)[: len(jobs)]
    steps, header = _on(several, steps)
    with _folders(jobs, header, options) as manifests, Log(jobs, header, options, single) as log:
        if len(several) > 1:
            devices.share(jobs, steps, several, log)
        else:
            tickets, worker = map(Ticket, itertools.count(), jobs, log.outcomes), Worker(steps, manifests)
            work(tickets, worker, log.progress, lambda one: log.done(one.number, one.outcome, one.error))
    return log.outcomes


def _on(several: Sequence[str], steps: Steps) -> tuple[Steps, Header]:
    """The steps for this process, where only one device has its model, and what the report says of the run."""
    steps = steps.on(several[0] if len(several) == 1 else "cpu")
    return steps, {**steps.header, "device": ",".join(several)} if len(several) > 1 else steps.header


def _run_on_cluster(jobs: Sequence[Job], steps: Steps, single: bool) -> list[Outcome]:
    """Restores in the processes of a cluster; this one only finds out what the settings are."""
    options = steps.options
    with cluster.connected(options, len(jobs)) as crew:
        known = steps.on("cpu")
        header = {**known.header, "device": str(crew)}
        stages = cluster.Stages(steps.on(crew.device), known.settings(), str(Path.cwd()))
        with _folders(jobs, header, options) as manifests, Log(jobs, header, options, single) as log:
            cluster.share(jobs, stages, crew, manifests, log)
    return log.outcomes


@contextlib.contextmanager
def _folders(jobs: Sequence[Job], header: Header, options: Batch) -> Iterator[Mapping[Path, Records]]:
    """The manifests of the folders of outputs, open, and nothing there that a killed run has left."""
    with contextlib.ExitStack() as opened:
        roots = dict.fromkeys(job.root for job in jobs if job.root)
        manifests = {root: opened.enter_context(manifest_of(root).opened(options.join)) for root in roots}
        if not options.join:  # else others are at work
            sweep(path for job in jobs if job.root for path in job.outputs)
        for root, manifest in manifests.items():
            if options.engine is Runner.RAY or is_remote(root):
                _begin([job for job in jobs if job.root == root], manifest, str(header["task"]), options)
        yield manifests


def _begin(jobs: Sequence[Job], manifest: Records, task: str, options: Batch) -> None:
    """Records outputs as the run's own before they are made, where what was written is recorded afterwards.

    After a run that was killed in between, the same command would take them for somebody else's.
    """
    begun = []
    for job in jobs:
        record = manifest.find(job.target)
        skipped = record is not None and record.status == "skipped"
        if skipped or all(manifest.owns(job.target, path, task) for path in job.outputs):
            continue
        if options.resume and job.target.exists():
            continue  # it is kept, whoever made it
        if record is None or record.task != task:
            record = Record(
                input=job.name,
                sha256="",
                mask_sha256=None,
                task=task,
                model="",
                seed=options.seed,
                settings="",
                output=manifest.name(job.target),
                output_sha256=None,
                compare_sha256=None,
                status=BEGUN,
                seconds=0.0,
            )
        hashes: dict[str, Any] = {name: getattr(record, name) or "" for name in ("output_sha256", "compare_sha256")}
        begun.append(dataclasses.replace(record, **hashes))
    if begun:
        manifest.add(*begun)


def _rehearse(jobs: Sequence[Job], steps: Steps) -> list[Outcome]:
    """Says what would be done.

    Raises:
        RestoreError: outputs exist that the run would refuse to replace.
    """
    options = steps.options
    several = ["cpu"] if options.engine is Runner.RAY else devices.names(options.device)[: len(jobs)]
    steps, header = _on(several, steps)
    task = str(header["task"])
    worker = Worker(steps, {root: manifest_of(root) for root in dict.fromkeys(job.root for job in jobs if job.root)})
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
