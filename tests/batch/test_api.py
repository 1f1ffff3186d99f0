"""Files and folders from Python: the same as by the command, and in long-lived processes."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import contents
from PIL import Image

import bcm_restore
from bcm_restore import batch
from bcm_restore.batch import Observer, Outcome, Settings, Status
from bcm_restore.errors import NothingToRestore, RestoreError


class Recorder(Observer):
    def __init__(self):
        self.header, self.steps, self.notes, self.outcomes = {}, [], [], []

    def begin(self, header, outcomes):
        self.header, self.outcomes = header, outcomes

    def progress(self, unit, done, total):
        self.steps.append((unit, done, total))

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def album(save, face, tmp_path) -> Path:
    for n in range(3):
        save(f"album/{n}.jpg", np.roll(face, 3 * n, 0)[: 40 + 4 * (n % 2)], quality=30)
    save("album/never.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    (tmp_path / "album" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "album"


def test_the_same_as_the_command(cli, album, tmp_path):
    recorder = Recorder()
    outcomes = list(batch.restore("jpeg", album, output=tmp_path / "python", observer=recorder, nfe=1, compare=True))
    assert [(Path(o.input).name, o.status) for o in outcomes] == [
        ("0.jpg", Status.RESTORED),
        ("1.jpg", Status.RESTORED),
        ("2.jpg", Status.RESTORED),
        ("broken.jpg", Status.FAILED),
        ("never.png", Status.SKIPPED),
    ]
    assert outcomes == list(recorder.outcomes)
    assert outcomes[0].output == str(tmp_path / "python" / "0.png")
    assert "broken.jpg" in outcomes[3].error
    assert recorder.header["task"] == "jpeg" and ("NFE", 1, 1) in recorder.steps
    cli("jpeg-restore", album, "--nfe", 1, "--compare", "-o", tmp_path / "command", status=1)
    ours, theirs = (
        {name: data for name, data in contents(tmp_path / where).items() if name.endswith(".png")}
        for where in ("python", "command")
    )
    assert ours == theirs and len(ours) == 6
    again = cli("jpeg-restore", album, "--nfe", 1, "--compare", "-o", tmp_path / "python", "--json", status=1)
    assert [file["status"] for file in json.loads(again.stdout)["files"]] == ["kept"] * 3 + ["failed", "skipped"]


def test_one_file(cli, save, face, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "holiday"
    old = save("old.jpg", face, quality=20, exif=exif, dpi=(72, 72))
    outcome = bcm_restore.restore_file("jpeg", old, tmp_path / "new.png", nfe=1)
    assert (outcome.status, outcome.output, outcome.size) == ("restored", str(tmp_path / "new.png"), (40, 48))
    assert Image.open(tmp_path / "new.png").getexif()[0x010E] == "holiday"
    cli("jpeg-restore", old, "--nfe", 1, "-o", tmp_path / "command.png")
    assert (tmp_path / "new.png").read_bytes() == (tmp_path / "command.png").read_bytes()
    assert bcm_restore.restore_file("super-resolve", old, scale=2, nfe=1).output == str(tmp_path / "old_x2.png")


def test_errors_of_one_file_are_raised(save, face, album, tmp_path):
    before = contents(tmp_path)
    with pytest.raises(NothingToRestore, match=r"never\.png: no trace of JPEG"):
        bcm_restore.restore_file("jpeg", album / "never.png")
    with pytest.raises(RestoreError, match="broken"):
        bcm_restore.restore_file("jpeg", album / "broken.jpg")
    with pytest.raises(RestoreError, match="is a folder"):
        bcm_restore.restore_file("jpeg", album)
    with pytest.raises(RestoreError, match=r"\*\.jpg: no such file"):
        bcm_restore.restore_file("jpeg", album / "*.jpg")
    with pytest.raises(RestoreError, match=r"never\.png exists"):
        bcm_restore.restore_file("jpeg", album / "0.jpg", album / "never.png")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("task", "options", "kind", "message"),
    [
        ("inpaint", {}, RestoreError, "inpaint needs a mask"),
        ("inpaint", {"mask": "nowhere.png"}, RestoreError, "nowhere.png: no such file"),
        ("inpaint", {"maks": "m.png"}, TypeError, "did you mean 'mask'"),
        ("jpeg", {"scale": 2}, TypeError, "unexpected keyword argument 'scale'"),
        ("jpeg", {"format": "gif"}, RestoreError, "format 'gif' is not known; give png, jpg"),
        ("jpeg", {"engine": "dask"}, RestoreError, "engine 'dask' is not known; give local, ray"),
        ("interpolate", {}, RestoreError, "interpolate takes two pictures; use tasks.get"),
        ("super-resolve", {"scale": "4"}, RestoreError, "scale '4' is not supported; use 2, 3, 4, 8"),
        ("paint", {}, RestoreError, "task 'paint' is not known; did you mean 'inpaint'"),
    ],
)
def test_what_is_refused_before_any_work(photo, task, options, kind, message):
    with pytest.raises(kind, match=message):
        batch.restore(task, photo, **options)


def test_a_mask_that_changes_on_disk_is_seen(photo, mask, hole, face, tmp_path):
    def filled(name: str) -> np.ndarray:
        outcome = bcm_restore.restore_file("inpaint", photo, tmp_path / name, mask=mask, nfe=1)
        return (np.asarray(Image.open(outcome.output)) != face).any(2)

    assert not filled("one.png")[hole == 0].any()
    Image.fromarray(np.flipud(hole).copy()).save(mask)
    assert not filled("two.png")[np.flipud(hole) == 0].any()
    assert filled("three.png")[np.flipud(hole) > 0].mean() > 0.9


def test_one_mask_is_read_once_a_run(save, face, mask, tmp_path, monkeypatch):
    for n in range(4):
        save(f"album/{n}.png", face)
    read, seen = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path) or read(path))
    list(batch.restore("inpaint", tmp_path / "album", mask=mask, nfe=1))
    assert seen.count(mask) == 1


def test_a_closed_iterator_loses_nothing(album, tmp_path):
    outcomes = batch.restore("jpeg", album, nfe=1)
    assert next(outcomes).status == Status.RESTORED
    outcomes.close()
    out = tmp_path / "album_restored"
    assert (out / "0.png").is_file() and not list(out.glob("*.part"))
    rest = {Path(o.input).name: o.status for o in batch.restore("jpeg", album, nfe=1)}
    assert rest["0.jpg"] == Status.KEPT and Status.RESTORED in rest.values()


def test_runs_in_threads_beside_each_other(save, face, tmp_path):
    for name in ("a", "b"):
        save(f"{name}/0.jpg", face, quality=30)
    found: dict[str, list[Outcome]] = {}

    def work(name: str) -> None:
        found[name] = list(batch.restore("jpeg", tmp_path / name, nfe=1))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.status for name in ("a", "b") for outcome in found[name]] == [Status.RESTORED] * 2


@pytest.mark.slow
def test_processes_report_their_progress(album, tmp_path):
    recorder = Recorder()
    outcomes = list(batch.restore("jpeg", album, nfe=1, device="cpu,cpu", observer=recorder))
    assert {Path(o.input).name: str(o.status) for o in outcomes} == {
        **{f"{n}.jpg": "restored" for n in range(3)},
        "broken.jpg": "failed",
        "never.png": "skipped",
    }
    assert recorder.header["device"] == "cpu,cpu" and ("NFE", 1, 1) in recorder.steps
    assert {outcome.input for outcome in recorder.outcomes} == {outcome.input for outcome in outcomes}


def test_a_dry_run_writes_nothing(album, tmp_path):
    before = contents(tmp_path)
    outcomes = list(batch.restore("jpeg", album, nfe=1, dry_run=True))
    assert {outcome.status for outcome in outcomes} == {Status.RESTORE}
    assert contents(tmp_path) == before


def test_nothing_heavy_and_no_terminal_is_imported():
    code = (
        "import sys, bcm_restore\n"
        "from bcm_restore.batch import api, cluster, executors, interpolation, processes, run\n"
        "from bcm_restore.batch.recipes import registry\n"
        "assert bcm_restore.restore_file and bcm_restore.batch.restore\n"
        "print([name for name in ('torch', 'cv2', 'typer', 'rich', 'ray', 'bcm_restore.cli') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_settings_and_statuses_are_plain():
    assert Settings().suffix == ".png" and Settings(format="webp").suffix == ".webp"
    assert json.dumps({"status": Status.KEPT}) == '{"status": "kept"}'
    assert f"{Status.KEPT}" == str(Status.KEPT) == "kept"
