"""The work of a run on one picture, without a model: a recipe that inverts pictures replaces a task."""

import dataclasses
import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from bcm_restore import images
from bcm_restore.batch.manifest import Manifest
from bcm_restore.batch.observer import Observer
from bcm_restore.batch.outcomes import Outcome, Status
from bcm_restore.batch.planning import Job, Naming
from bcm_restore.batch.recipes.base import Loaded, Recipe, Result
from bcm_restore.batch.settings import Settings
from bcm_restore.batch.worker import Ticket, Worker, work
from bcm_restore.errors import DiskFull, NothingToRestore, RestoreError


@dataclasses.dataclass(kw_only=True)
class Inverting(Recipe):
    """Inverts pictures; black ones have nothing to restore, white ones fail."""

    strength: int = 1

    @property
    def naming(self):
        return Naming("_inverted", "_inverted", "invert")

    @property
    def header(self):
        return {"task": "invert", "model": "none", "device": "cpu", "seed": 0}

    def fingerprint(self):
        return {"task": "invert", "model": "0", "seed": 0, "strength": self.strength}

    def read(self, source, data, mask):
        return Loaded(source, images.read(source, data=data))

    def alike(self, loaded):
        return loaded.picture.size, 2

    def restore(self, several, observer):
        for one in several:
            if not one.picture.pixels.any():
                raise NothingToRestore("it is black")
            if one.picture.pixels.min() == 255:
                raise RestoreError(f"{one.source}: it is white")
        observer.progress("NFE", 1, 1)
        return [Result(one.picture, one.picture.with_pixels(255 - one.picture.pixels)) for one in several]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, value in (("grey", 100), ("dark", 50), ("black", 0), ("white", 255)):
        images.write(images.Picture(np.full((6, 5), value, np.uint8)), tmp_path / "in" / f"{name}.png")
    return tmp_path


def job(folder: Path, name: str, compare: bool = False) -> Job:
    out = folder / "out"
    other = out / f"{name}_compare.png" if compare else None
    return Job(folder / "in" / f"{name}.png", out / f"{name}.png", other, f"{name}.png", out)


def run(folder: Path, *jobs: Job, recipe: Recipe | None = None) -> list[Outcome]:
    with Manifest(folder / "out").opened() as manifest:
        worker = Worker(recipe or Inverting(settings=Settings()), {folder / "out": manifest})
        tickets = [Ticket(n, job, Outcome(str(job.source))) for n, job in enumerate(jobs)]
        return [ticket.outcome for ticket in work(tickets, worker, Observer(), lambda ticket: None)]


def decided(folder: Path, job: Job, **recipe: int) -> tuple[Status, str | None]:
    settings = Settings()
    decision = Worker(Inverting(settings=settings, **recipe), {folder / "out": Manifest(folder / "out")}).decide(job)
    return decision.action, decision.reason


def test_outputs_are_recorded(folder):
    [outcome] = run(folder, grey := job(folder, "grey", compare=True))
    assert (outcome.status, outcome.size, outcome.output) == (Status.COPIED, (5, 6), str(grey.target))
    assert (images.read(grey.target).pixels == 155).all()
    assert images.read(grey.compare).pixels.shape == (6, 10)
    record = Manifest(folder / "out").find(grey.target)
    assert record.output_sha256 == hashlib.sha256(grey.target.read_bytes()).hexdigest()
    assert record.compare_sha256 == hashlib.sha256(grey.compare.read_bytes()).hexdigest()
    assert (record.input, record.output, record.task) == ("grey.png", "grey.png", "invert")
    assert record.status is Status.COPIED


def test_decisions(folder):
    grey = job(folder, "grey")
    assert decided(folder, grey) == (Status.RESTORE, None)
    run(folder, grey)
    assert decided(folder, grey) == (Status.KEEP, "it is complete")
    assert decided(folder, grey, strength=2) == (Status.REDO, "settings changed")
    assert decided(folder, job(folder, "grey", compare=True)) == (Status.REDO, "grey_compare.png is missing")
    grey.target.write_bytes(b"something else")
    assert decided(folder, grey) == (Status.REDO, "grey.png has changed")
    grey.target.unlink()
    assert decided(folder, grey) == (Status.REDO, "grey.png is missing")
    run(folder, grey)
    images.write(images.Picture(np.full((6, 5), 7, np.uint8)), grey.source)
    assert decided(folder, grey) == (Status.REDO, "input changed")


def test_kept_pictures_are_not_read_again(folder, monkeypatch):
    grey = job(folder, "grey")
    [first] = run(folder, grey)
    monkeypatch.setattr(Inverting, "read", lambda *arguments: pytest.fail("it was read"))
    [second] = run(folder, grey)
    assert (second.status, second.remark, second.size) == (Status.KEPT, "it is complete", first.size)


def test_resume_keeps_existing_outputs(folder):
    grey = job(folder, "grey")
    grey.target.parent.mkdir()
    grey.target.write_bytes(b"somebody's")
    [outcome] = run(folder, grey, recipe=Inverting(settings=Settings(resume=True)))
    assert (outcome.status, outcome.remark) == (Status.KEPT, "it exists")
    assert grey.target.read_bytes() == b"somebody's"


def test_one_of_several_that_fails_does_not_spoil_the_others(folder):
    jobs = [job(folder, name) for name in ("grey", "white", "dark", "black")]
    outcomes = run(folder, *jobs)
    assert [o.status for o in outcomes] == [Status.COPIED, Status.FAILED, Status.COPIED, Status.SKIPPED]
    assert outcomes[1].error.endswith("white.png: it is white")
    assert outcomes[3].remark.endswith("black.png: it is black")
    assert sorted(path.name for path in (folder / "out").glob("*.png")) == ["dark.png", "grey.png"]
    again = run(folder, *jobs)
    assert [o.status for o in again] == [Status.KEPT, Status.FAILED, Status.KEPT, Status.SKIPPED]


def test_a_failure_keeps_the_earlier_output_as_the_tasks_own(folder):
    grey = job(folder, "grey")
    run(folder, grey)
    before = grey.target.read_bytes()
    images.write(images.Picture(np.full((6, 5), 255, np.uint8)), grey.source)
    assert run(folder, grey)[0].status == Status.FAILED
    manifest = Manifest(folder / "out")
    assert grey.target.read_bytes() == before and manifest.owns(grey.target, grey.target, "invert")
    assert decided(folder, grey) == (Status.REDO, "it failed")


def test_an_output_that_another_run_is_making_is_left(folder):
    grey = job(folder, "grey")
    other = Manifest(folder / "out")
    with other.opened():
        assert other.claim(grey.target)
        with Manifest(folder / "out").opened(join=True) as manifest:
            worker = Worker(Inverting(settings=Settings()), {folder / "out": manifest})
            ticket = Ticket(0, grey, Outcome("grey.png"))
            assert worker.read(ticket) is None
    assert (ticket.outcome.status, ticket.outcome.remark) == (Status.LEFT, "another run is restoring it")


def test_a_full_disk_ends_the_run_and_leaves_no_output(folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFull, match="the disk is full"):
        run(folder, job(folder, "grey"), job(folder, "dark"))
    assert not list((folder / "out").glob("*.p*"))


def test_a_picture_alone_has_no_manifest(folder):
    alone = Job(folder / "in" / "grey.png", folder / "grey_inverted.png")
    worker, ticket = Worker(Inverting(settings=Settings()), {}), Ticket(0, alone, Outcome("grey.png"))
    assert [one.outcome.status for one in work([ticket], worker, Observer(), lambda ticket: None)] == [Status.COPIED]
    assert alone.target.is_file() and not list(folder.glob(".*"))
