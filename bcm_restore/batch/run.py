"""The run over all pictures: complete outputs are kept, the others are restored."""

import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from ..files import is_remote, sweep
from . import cluster, executors, inputs, planning
from .manifest import Record, Records
from .observer import Observer
from .outcomes import Outcome, Status
from .planning import Job, Plan
from .recipes.base import Recipe
from .settings import Settings
from .worker import Ticket, Worker


def run(plan: Plan, recipe: Recipe, observer: Observer) -> Generator[Outcome, None, None]:
    """Restores all pictures that are not complete; a broken one does not stop the rest.

    Args:
        plan: of the run.
        recipe: how pictures are restored.
        observer: receives the reports.

    Yields:
        The outcome of each picture, as soon as it is known.

    Raises:
        RestoreError: another run is writing to the folder of outputs, or the disk is full.
    """
    if plan.unread:
        observer.note(f"not read: {inputs.unread_kinds(plan.unread)}")
    cluster.check(recipe.settings)
    outcomes = [Outcome(str(job.source)) for job in plan.jobs]

    def report(ticket: Ticket) -> None:
        outcomes[ticket.number] = ticket.outcome
        observer.done(ticket.outcome, ticket.error)

    with executors.chosen(recipe, len(plan.jobs), observer) as executor:
        header = executor.header
        tickets = [Ticket(n, job, outcome) for n, (job, outcome) in enumerate(zip(plan.jobs, outcomes, strict=True))]
        if recipe.settings.dry_run:
            observer.begin(header, outcomes)
            yield from _rehearse(plan, tickets, executor.recipe, report)
            return
        with _opened(plan, recipe.settings, executor.begins):
            observer.begin(header, outcomes)
            with contextlib.closing(executor.restore(tickets, plan.manifests, observer, report)) as finished:
                for ticket in finished:
                    yield ticket.outcome


@contextlib.contextmanager
def _opened(plan: Plan, settings: Settings, begins: bool) -> Iterator[None]:
    """Opens the manifests of the folders of outputs, and removes what a killed run has left there."""
    with contextlib.ExitStack() as opened:
        for manifest in plan.manifests.values():
            opened.enter_context(manifest.opened(settings.join))
        if not settings.join:  # else other runs are writing there
            sweep(path for job in plan.jobs if job.root for path in job.outputs)
        for root, manifest in plan.manifests.items():
            if begins or is_remote(root):
                _begin([job for job in plan.jobs if job.root == root], manifest, plan.naming.task, settings)
        yield


def _begin(jobs: Sequence[Job], manifest: Records, task: str, settings: Settings) -> None:
    """Records outputs as the run's own before they are written, where their hashes are recorded afterwards.

    If a run was killed in between, the same command would otherwise refuse to overwrite them.
    """
    begun = []
    for job in jobs:
        record = manifest.find(job.target)
        skipped = record is not None and record.status == Status.SKIPPED
        if skipped or all(manifest.owns(job.target, path, task) for path in job.outputs):
            continue
        if settings.resume and job.target.exists():
            continue  # it is kept, whatever wrote it
        if record is None or record.task != task:
            record = Record(
                input=job.name,
                sha256="",
                mask_sha256=None,
                task=task,
                model="",
                seed=settings.seed,
                settings="",
                output=manifest.name(job.target),
                output_sha256=None,
                compare_sha256=None,
                status=Status.BEGUN,
                seconds=0.0,
            )
        hashes: dict[str, Any] = {name: getattr(record, name) or "" for name in ("output_sha256", "compare_sha256")}
        begun.append(dataclasses.replace(record, **hashes))
    if begun:
        manifest.add(*begun)


def _rehearse(plan: Plan, tickets: Sequence[Ticket], recipe: Recipe, report: executors.Report) -> Iterator[Outcome]:
    """Reports what would be done.

    Raises:
        RestoreError: outputs exist that the run would refuse to replace.
    """
    settings, worker = recipe.settings, Worker(recipe, plan.manifests)
    refused = set() if settings.overwrite or settings.resume else set(plan.foreign)
    for ticket in tickets:
        job, outcome = ticket.job, ticket.outcome
        outcome.output = str(job.target)
        try:
            decision = worker.decide(job)
            outcome.status, outcome.remark = decision.action, decision.reason
            if not refused.isdisjoint(job.outputs):
                outcome.status, outcome.remark = Status.REFUSE, "it exists, and no run of this command has written it"
        except Exception as error:
            ticket.error = error
            outcome.fail(error)
        report(ticket)
        yield outcome
    planning.check_foreign(plan, settings)
