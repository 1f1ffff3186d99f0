"""One picture at a time: what is to be done with it, its reading, restoring and writing, and its record."""

import dataclasses
import functools
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DiskFull
from ..files import atomic_path, digest
from . import pipeline
from .inputs import Job
from .manifest import BEGUN, COMPLETE, Origin, Record, Records, difference, settings_digest
from .options import Batch
from .report import Header, Outcome, Skip, timed
from .sheets import Sheets, restore_pages, side_by_side

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..images import Picture
    from ..tasks import Restoration

MOST = 32  # pictures restored at once: they wait in memory for each other

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a picture.

    Attributes:
        before, after: the picture, upright.
        restoration: how it came about; None where there was nothing to do.
        remark: why there was nothing to do, or what was found in the input.
        mse: mean squared error of what was to stay the same.
        more: the further pages, upright.
        sheets: the file's pages, where it has several.
    """

    before: "Picture"
    after: "Picture"
    restoration: "Restoration | None" = None
    remark: str = ""
    mse: float | None = None
    more: "Sequence[Picture]" = ()
    sheets: "Sheets | None" = None


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A picture that has been read.

    Attributes:
        source: its file.
        picture: as the task takes it.
        inputs: what the task needs besides.
        remark: why there is nothing to do, if so.
        found: what else is to be said of it.
        more: the further pages.
        sheets: the file's pages, where it has several.
    """

    source: Path
    picture: "Picture"
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    remark: str = ""
    found: str = ""
    more: "Sequence[Loaded]" = ()
    sheets: "Sheets | None" = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps(ABC):
    """How a command restores pictures. It can be sent to other processes, which load their own models.

    Attributes:
        options: what was asked for.
    """

    options: Batch

    def on(self, device: str) -> "Self":
        """The same on another device."""
        return dataclasses.replace(self, options=dataclasses.replace(self.options, device=device))

    @property
    @abstractmethod
    def header(self) -> Header:
        """What the report says of the run; finds out whether all that the options name is there.

        Raises:
            RestoreError: it is not, or makes no sense.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that results depend on besides the files, with "task", "model" (SHA-256 of its file) and "seed"."""

    def mask(self, source: Path) -> Path | None:
        """The file of a picture's mask; None if it has none."""
        return None

    def pixels(self, data: bytes) -> int:
        """Of the result, as the bytes of the picture's file declare them; 0 where they don't."""
        from ..images import declared_pixels

        return declared_pixels(data)

    @abstractmethod
    def read(self, source: Path, data: bytes) -> Loaded:
        """What the file holds, given its bytes; called in any thread."""

    @abstractmethod
    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """Equal first values of pictures that can be restored together, and how many of them at most."""

    @abstractmethod
    def restore(self, several: Sequence[Loaded], progress: Progress) -> list[Result]:
        """What becomes of pictures that are alike.

        Raises:
            Skip: there is nothing to do in one of them.
            RestoreError: one can't be restored.
        """


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is to be done with a picture.

    Attributes:
        action: restore, redo or keep.
        reason: why it is not simply restored.
        origin: what its result depends on, where there is a manifest.
        record: of the output that is kept, if there is one.
        data: of the picture's file, where it is restored.
    """

    action: str
    reason: str | None = None
    origin: Origin | None = None
    record: Record | None = None
    data: bytes = b""


@dataclasses.dataclass
class Ticket:
    """A picture on its way through a run."""

    number: int
    job: Job
    outcome: Outcome
    error: Exception | None = None
    origin: Origin | None = None


class Worker:
    """What is done with each picture of a run.

    Args:
        steps: how a picture is restored.
        manifests: of the folders of outputs.
        settings: those of the steps, where they are known: finding them out takes the model.
    """

    def __init__(
        self, steps: Steps, manifests: Mapping[Path, Records], settings: Mapping[str, Any] | None = None
    ) -> None:
        self._steps, self._options, self._manifests = steps, steps.options, manifests
        self._settings = (steps.settings() if manifests else {}) if settings is None else settings

    def judge(self, job: Job) -> Verdict:
        """What is to be done with a picture.

        Raises:
            RestoreError: its file can't be read, or it lacks its mask.
        """
        from ..images import file_contents

        if self._options.resume and job.target.exists():
            return Verdict("keep", "it exists")
        data = file_contents(job.source)
        if job.root is None:
            return Verdict("restore", data=data)
        record, origin = self._manifests[job.root].find(job.target), self._origin(job, data)
        if record is None or record.status == BEGUN:
            return Verdict("restore", origin=origin, data=data)
        if reason := difference(record, origin) or _flaw(job, record):
            return Verdict("redo", reason, origin, data=data)
        return Verdict("keep", "it is complete", origin, record)

    def read(self, ticket: Ticket, enter: pipeline.Enter = lambda pixels: None) -> Loaded | None:
        """What the file holds; None where there is nothing to do, which the outcome then says. See `pipeline.run`."""
        job, outcome = ticket.job, ticket.outcome
        with timed(outcome):
            if job.root is not None and not self._manifests[job.root].claim(job.target):
                outcome.status, outcome.remark = "left", "another run is restoring it"
                return None
            verdict = self.judge(job)
            ticket.origin = verdict.origin
            if verdict.action == "keep":
                _keep(job, outcome, verdict)
                return None
        from ..images import file_pages

        with timed(outcome):
            pages = file_pages(verdict.data, job.target, job.source, self._options.most_pixels)
        enter(self._steps.pixels(verdict.data) * pages.kept)
        with timed(outcome):
            first, *more = [self._steps.read(job.source, data) for data in pages.files()]
            sheets = None if pages.count == 1 else Sheets(pages.count, pages.remark, pages.timing())
            return dataclasses.replace(first, more=more, sheets=sheets)

    def alike(self, loaded: Loaded | None) -> tuple[Hashable, int]:
        """See `Steps.alike`; where there is nothing to do, pictures are alone."""
        if loaded is None or loaded.remark or loaded.more:
            return None, 1
        kind, most = self._steps.alike(loaded)
        return kind, min(most, MOST)

    def restore(
        self, tickets: Sequence[Ticket], several: Sequence[Loaded | None], progress: Progress
    ) -> Sequence[Result | Exception | None]:
        """What becomes of what `read` gave, for pictures that are alike."""
        loaded = several[0]
        if loaded is None:
            return [None]
        if loaded.more:
            with timed(tickets[0].outcome):
                return [restore_pages(self._steps, loaded, progress)]
        if loaded.remark:
            return [Result(loaded.picture, loaded.picture, remark=loaded.remark, sheets=loaded.sheets)]
        try:
            with timed(*(ticket.outcome for ticket in tickets)):
                made = self._steps.restore([one for one in several if one is not None], progress)
            return [
                dataclasses.replace(result, sheets=one.sheets) for one, result in zip(several, made, strict=True) if one
            ]
        except Exception as error:
            if len(tickets) == 1:
                return [error]
            return [self.restore([one], [own], progress)[0] for one, own in zip(tickets, several, strict=True)]

    def write(self, ticket: Ticket, result: Result | None) -> None:
        """Writes the output, and before it gets its name, its record."""
        from .. import images

        job, outcome = ticket.job, ticket.outcome
        if result is None:
            return
        with timed(outcome):
            timing = result.sheets.timing if result.sheets else None
            data = images.encoded(
                result.after, job.target, quality=self._options.quality, more=result.more, timing=timing
            )
            files = {job.target: data}
            if job.compare:
                files[job.compare] = images.encoded(side_by_side(result.before, result.after), job.compare)
        facts = _facts(result)
        with timed(outcome), ExitStack() as renamed:
            for path, data in files.items():
                temporary = renamed.enter_context(atomic_path(path))
                temporary.write_bytes(data)
                if self._options.keep_times:
                    times = job.source.stat()
                    os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))
            hashes = [hashlib.sha256(data).hexdigest() for data in files.values()]
            self._record(ticket, (hashes[0], hashes[1] if job.compare else None), facts)
        for name, value in facts.items():
            setattr(outcome, name, value)
        outcome.pages = result.sheets.count if result.sheets else None
        outcome.output, outcome.compare = str(job.target), str(job.compare) if job.compare else None

    def give_up(self, ticket: Ticket) -> None:
        """Records that a picture was skipped or has failed; its earlier output stays known as such."""
        before = self._manifests[ticket.job.root].find(ticket.job.target) if ticket.job.root else None
        hashes = (before.output_sha256 or None, before.compare_sha256 or None) if before else (None, None)
        facts = {name: getattr(ticket.outcome, name) for name in ("status", "remark", "error")}
        self._record(ticket, hashes, facts)

    def settle(self, ticket: Ticket, error: Exception | None) -> None:
        """Takes down what went wrong, and lets go of the picture.

        Raises:
            DiskFull: that is what went wrong: the run is over.
        """
        try:
            if error:
                ticket.error = error
                ticket.outcome.fail(error)
                if isinstance(error, DiskFull):
                    raise error
                if isinstance(error, Skip):
                    ticket.outcome.skip()
                self.give_up(ticket)
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

    def _origin(self, job: Job, data: bytes) -> Origin:
        mask = self._steps.mask(job.source)
        return Origin(
            input=job.name,
            sha256=hashlib.sha256(data).hexdigest(),
            mask_sha256=_mask_digest(mask) if mask else None,
            settings=settings_digest(self._settings),
            **{name: self._settings[name] for name in ("task", "model", "seed")},
        )


def work(tickets: Iterable[Ticket], worker: Worker, progress: Progress, report: Callable[[Ticket], None]) -> None:
    """Restores pictures one after the other, or some at once where they are alike, in this process.

    Args:
        tickets: the pictures.
        worker: what is done with each.
        progress: called with (done, in all) within the current picture.
        report: called with each whose outcome is known.

    Raises:
        DiskFull: the disk is full.
    """

    def settle(ticket: Ticket, error: Exception | None) -> None:
        worker.settle(ticket, error)
        report(ticket)

    pipeline.run(
        tickets,
        worker.read,
        lambda group, loaded: worker.restore(group, loaded, progress),
        worker.write,
        settle,
        worker.alike,
    )


# one mask for many pictures is read once
_mask_digest = functools.lru_cache(maxsize=1)(digest)


def _flaw(job: Job, record: Record) -> str | None:
    """Why a recorded result is not complete; None if it is."""
    if record.status not in COMPLETE:
        return "it failed"
    if record.status == "skipped":
        return None
    for path, expected in ((job.target, record.output_sha256), (job.compare, record.compare_sha256)):
        if path is None:
            continue
        if not path.exists():
            return f"{path.name} is not there"
        if digest(path) != expected:
            return f"{path.name} has changed"
    return None


def _keep(job: Job, outcome: Outcome, verdict: Verdict) -> None:
    record = verdict.record
    if record and record.status == "skipped":
        outcome.status, outcome.remark = "skipped", record.remark
        return
    outcome.status, outcome.remark, outcome.output = "kept", verdict.reason, str(job.target)
    if record:
        outcome.compare = str(job.compare) if job.compare else None
        for name in ("scheme", "nfe", "case", "size", "mse"):
            setattr(outcome, name, getattr(record, name))


def _facts(result: Result) -> dict[str, Any]:
    """What report and record say of a result."""
    height, width = result.after.pixels.shape[:2]
    made = result.restoration
    remarks = [result.remark, made.remark if made else "", result.sheets.remark if result.sheets else ""]
    facts: dict[str, Any] = {
        "size": (width, height),
        "mse": result.mse,
        "remark": "; ".join(filter(None, remarks)) or None,
    }
    if made:
        return {**facts, "status": "restored", "scheme": str(made.scheme), "nfe": made.nfe, "case": made.case}
    return {**facts, "status": "copied"}
