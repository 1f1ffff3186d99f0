"""The work on each picture: the decision, reading, restoring, writing, and its record."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..errors import DiskFull, NothingToRestore
from ..files import atomic_path, digest
from . import pipeline
from .manifest import COMPLETE, Origin, Record, Records, difference, settings_digest
from .masks import MaskFile
from .observer import Observer
from .outcomes import Outcome, Status, timed
from .pages import restore_pages
from .planning import Job
from .recipes.base import Loaded, PageInfo, Recipe, Result

MOST = 32  # pictures restored at once: they wait in memory for each other


@dataclasses.dataclass(frozen=True)
class Decision:
    """The action for a picture.

    Attributes:
        action: RESTORE, REDO or KEEP.
        reason: why it is recomputed or kept.
        origin: of its result, if there is a manifest.
        record: of the output that is kept, if there is one.
        data: of the picture's file, if it is restored.
        mask: its mask, if it was read.
    """

    action: Status
    reason: str | None = None
    origin: Origin | None = None
    record: Record | None = None
    data: bytes = b""
    mask: MaskFile | None = None


@dataclasses.dataclass
class Ticket:
    """A picture on its way through a run."""

    number: int
    job: Job
    outcome: Outcome
    error: Exception | None = None
    origin: Origin | None = None


class Worker:
    """Reads, restores, writes and records the pictures of a run.

    Args:
        recipe: how a picture is restored.
        manifests: of the folders of outputs.
        fingerprint: of the recipe; None: computed, which loads the model.
    """

    def __init__(
        self, recipe: Recipe, manifests: Mapping[Path, Records], fingerprint: Mapping[str, Any] | None = None
    ) -> None:
        self._recipe, self._settings, self._manifests = recipe, recipe.settings, manifests
        self._fingerprint = (recipe.fingerprint() if manifests else {}) if fingerprint is None else fingerprint

    def decide(self, job: Job) -> Decision:
        """Decides whether a picture is restored, recomputed or kept.

        Raises:
            RestoreError: its file cannot be read, or its mask is missing.
        """
        from ..images import file_contents

        if self._settings.resume and job.target.exists():
            return Decision(Status.KEEP, "it exists")
        data = file_contents(job.source)
        if job.root is None:
            return Decision(Status.RESTORE, data=data)
        record, mask = self._manifests[job.root].find(job.target), self._recipe.mask(job.source)
        origin = self._origin(job, data, mask)
        if record is None or record.status == Status.BEGUN:
            return Decision(Status.RESTORE, origin=origin, data=data, mask=mask)
        if reason := difference(record, origin) or _flaw(job, record):
            return Decision(Status.REDO, reason, origin, data=data, mask=mask)
        return Decision(Status.KEEP, "it is complete", origin, record)

    def read(self, ticket: Ticket, enter: pipeline.Enter = lambda pixels: None) -> Loaded | None:
        """Reads the file; None if there is nothing to do, with the reason in the outcome. See `pipeline.run`."""
        from ..images import file_pages

        job, outcome = ticket.job, ticket.outcome
        with timed(outcome):
            if job.root is not None and not self._manifests[job.root].claim(job.target):
                outcome.status, outcome.remark = Status.LEFT, "another run is restoring it"
                return None
            decision = self.decide(job)
            ticket.origin = decision.origin
            if decision.action == Status.KEEP:
                _keep(job, outcome, decision)
                return None
        with timed(outcome):
            pages = file_pages(decision.data, job.target, job.source, self._settings.max_pixels)
        enter(self._recipe.pixels(decision.data) * pages.kept)
        with timed(outcome):
            mask = decision.mask or self._recipe.mask(job.source)
            first, *more = [self._recipe.read(job.source, data, mask) for data in pages.files()]
            info = None if pages.count == 1 else PageInfo(pages.count, pages.remark, pages.timing())
            return dataclasses.replace(first, more=more, pages=info)

    def alike(self, loaded: Loaded | None) -> tuple[Hashable, int]:
        """See `Recipe.alike`; pictures with nothing to do are alone."""
        if loaded is None or loaded.remark or loaded.more:
            return None, 1
        kind, most = self._recipe.alike(loaded)
        return kind, min(most, MOST)

    def restore(
        self, tickets: Sequence[Ticket], several: Sequence[Loaded | None], observer: Observer
    ) -> Sequence[Result | Exception | None]:
        """Restores pictures that `read` has loaded and that are alike."""
        loaded = several[0]
        if loaded is None:
            return [None]
        if loaded.more:
            with timed(tickets[0].outcome):
                return [restore_pages(self._recipe, loaded, observer)]
        if loaded.remark:
            return [Result(loaded.picture, loaded.picture, remark=loaded.remark, pages=loaded.pages)]
        try:
            with timed(*(ticket.outcome for ticket in tickets)):
                made = self._recipe.restore([one for one in several if one is not None], observer)
            return [
                dataclasses.replace(result, pages=one.pages) for one, result in zip(several, made, strict=True) if one
            ]
        except Exception as error:
            if len(tickets) == 1:
                return [error]
            return [self.restore([one], [own], observer)[0] for one, own in zip(tickets, several, strict=True)]

    def write(self, ticket: Ticket, result: Result | None) -> None:
        """Writes the output, and its record before the output gets its name."""
        from .. import images
        from ..images.montage import side_by_side

        job, outcome = ticket.job, ticket.outcome
        if result is None:
            return
        with timed(outcome):
            timing = result.pages.timing if result.pages else None
            data = images.encoded(
                result.after, job.target, quality=self._settings.quality, more=result.more, timing=timing
            )
            files = {job.target: data}
            if job.compare:
                files[job.compare] = images.encoded(side_by_side(result.before, result.after), job.compare)
        facts = _facts(result)
        with timed(outcome), ExitStack() as renamed:
            for path, data in files.items():
                temporary = renamed.enter_context(atomic_path(path))
                temporary.write_bytes(data)
                if self._settings.keep_times:
                    times = job.source.stat()
                    os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))
            hashes = [hashlib.sha256(data).hexdigest() for data in files.values()]
            self._record(ticket, (hashes[0], hashes[1] if job.compare else None), facts)
        for name, value in facts.items():
            setattr(outcome, name, value)
        outcome.pages = result.pages.count if result.pages else None
        outcome.output, outcome.compare = str(job.target), str(job.compare) if job.compare else None

    def record_failure(self, ticket: Ticket) -> None:
        """Records that a picture was skipped or has failed; its earlier output stays recorded."""
        before = self._manifests[ticket.job.root].find(ticket.job.target) if ticket.job.root else None
        hashes = (before.output_sha256 or None, before.compare_sha256 or None) if before else (None, None)
        facts = {name: getattr(ticket.outcome, name) for name in ("status", "remark", "error")}
        self._record(ticket, hashes, facts)

    def finish(self, ticket: Ticket, error: Exception | None) -> None:
        """Records an error, and releases the picture.

        Raises:
            DiskFull: the error is a full disk, which ends the run.
        """
        try:
            if error:
                ticket.error = error
                ticket.outcome.fail(error)
                if isinstance(error, DiskFull):
                    raise error
                if isinstance(error, NothingToRestore):
                    ticket.outcome.skip()
                self.record_failure(ticket)
        finally:
            if ticket.job.root is not None:
                self._manifests[ticket.job.root].release(ticket.job.target)

    def _record(self, ticket: Ticket, hashes: tuple[str | None, str | None], facts: dict[str, Any]) -> None:
        if ticket.job.root is None or ticket.origin is None:
            return
        manifest = self._manifests[ticket.job.root]
        manifest.add(
            Record(
                **dataclasses.asdict(ticket.origin),
                output=manifest.name(ticket.job.target),
                output_sha256=hashes[0],
                compare_sha256=hashes[1],
                seconds=ticket.outcome.seconds,
                **facts,
            )
        )

    def _origin(self, job: Job, data: bytes, mask: MaskFile | None) -> Origin:
        return Origin(
            input=job.name,
            sha256=hashlib.sha256(data).hexdigest(),
            mask_sha256=mask.sha256 if mask else None,
            settings=settings_digest(self._fingerprint),
            **{name: self._fingerprint[name] for name in ("task", "model", "seed")},
        )


def work(
    tickets: Iterable[Ticket], worker: Worker, observer: Observer, report: Callable[[Ticket], None]
) -> Generator[Ticket, None, None]:
    """Restores pictures in this process, one by one, or several at once if they are alike.

    Args:
        tickets: the pictures.
        worker: for each of them.
        observer: receives the progress within the current picture, and notes.
        report: called with each ticket whose outcome is known.

    Yields:
        Each reported ticket, unless the run is being interrupted.

    Raises:
        DiskFull: the disk is full.
    """

    def finish(ticket: Ticket, error: Exception | None) -> None:
        worker.finish(ticket, error)
        report(ticket)

    return pipeline.run(
        tickets,
        worker.read,
        lambda group, loaded: worker.restore(group, loaded, observer),
        worker.write,
        finish,
        worker.alike,
    )


def _flaw(job: Job, record: Record) -> str | None:
    """Why a recorded result is not complete; None if it is."""
    if record.status not in COMPLETE:
        return "it failed"
    if record.status == Status.SKIPPED:
        return None
    for path, expected in ((job.target, record.output_sha256), (job.compare, record.compare_sha256)):
        if path is None:
            continue
        if not path.exists():
            return f"{path.name} is missing"
        if digest(path) != expected:
            return f"{path.name} has changed"
    return None


def _keep(job: Job, outcome: Outcome, decision: Decision) -> None:
    record = decision.record
    if record and record.status == Status.SKIPPED:
        outcome.status, outcome.remark = Status.SKIPPED, record.remark
        return
    outcome.status, outcome.remark, outcome.output = Status.KEPT, decision.reason, str(job.target)
    if record:
        outcome.compare = str(job.compare) if job.compare else None
        for name in ("scheme", "nfe", "case", "size", "mse"):
            setattr(outcome, name, getattr(record, name))


def _facts(result: Result) -> dict[str, Any]:
    """The facts of a result for its report and record."""
    height, width = result.after.pixels.shape[:2]
    made = result.restoration
    remarks = [result.remark, made.remark if made else "", result.pages.remark if result.pages else ""]
    facts: dict[str, Any] = {
        "size": (width, height),
        "mse": result.mse,
        "remark": "; ".join(filter(None, remarks)) or None,
    }
    if made:
        return {**facts, "status": Status.RESTORED, "scheme": str(made.scheme), "nfe": made.nfe, "case": made.case}
    return {**facts, "status": Status.COPIED}
