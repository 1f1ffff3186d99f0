"""Folders: complete outputs are kept, however the run before ended, and no other file is lost."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from helpers.runs import contents, stopped
from PIL import Image

from bcm_restore import images, weights
from bcm_restore.batch.manifest import LOCK, NAME
from bcm_restore.cli import printing
from bcm_restore.images.silenced import libraries_silenced

RUN = ("super-resolve", "--scale", "2", "--nfe", "1")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def album(save, face, tmp_path) -> Path:
    for name in ("a.png", "b.png", "deep/c.png"):
        save(f"album/{name}", face[: 16 + len(name), :16])
    return tmp_path / "album"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "album_x2"


@pytest.fixture
def again(cli, album):
    """Runs the command once; gives a function that runs it again and lists the pictures it restored."""
    cli(*RUN, album, "-r")

    def run(*options, arguments=RUN) -> list[str]:
        result = cli(*arguments, album, "-r", "--json", *options)
        files = json.loads(result.stdout)["files"]
        assert all(entry["status"] in ("restored", "kept") for entry in files)
        return [str(Path(entry["input"]).relative_to(album)) for entry in files if entry["status"] == "restored"]

    return run


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


ALL = ["a.png", "b.png", "deep/c.png"]


def test_the_manifest_records_each_picture(cli, album, out):
    cli(*RUN, album, "-r", "--seed", 3, "--compare")
    lines = sorted(records(out), key=lambda line: line["input"])  # two are written at a time
    assert [line["input"] for line in lines] == ALL
    for line in lines:
        assert line["sha256"] == digest(album / line["input"])
        assert line["output_sha256"] == digest(out / line["output"])
        assert line["model"] == digest(weights.find(weights.DEFAULT))
        assert (line["task"], line["seed"], line["nfe"], line["status"]) == ("super-resolve", 3, 1, "restored")
        assert line["seconds"] > 0
        assert line["scheme"]
    assert lines[0]["compare_sha256"] == digest(out / "a_compare.png")


def test_complete_outputs_are_kept(again, cli, album, out):
    before = contents(out)
    for path in [*album.rglob("*.png"), *out.rglob("*.png")]:
        os.utime(path, (1, 1) if path.name < "b" else (4e9, 4e9))  # whatever the clock says
    assert again() == []
    assert again("--overwrite") == []
    assert contents(out) == before
    assert "nothing to do" in cli(*RUN, album, "-r").stderr


def test_only_changed_pictures_are_recomputed(again, album, out, save, face):
    outputs = contents(out)
    save("album/b.png", face[:9, :9])
    assert again() == ["b.png"]
    assert Image.open(out / "b.png").size == (18, 18)
    assert {name: hash for name, hash in contents(out).items() if name in ("a.png", "deep/c.png")} == {
        name: outputs[name] for name in ("a.png", "deep/c.png")
    }
    save("album/new.png", face)
    assert again() == ["new.png"]
    (out / "a.png").unlink()
    (out / "deep" / "c.png").write_bytes((out / "deep" / "c.png").read_bytes()[:-9])
    assert again() == ["a.png", "deep/c.png"]
    assert contents(out)["a.png"] == outputs["a.png"]
    assert contents(out)["deep/c.png"] == outputs["deep/c.png"]
    assert again() == []


@pytest.mark.slow
def test_changed_settings_recompute_all(again, tmp_path):
    model = shutil.copy(weights.find(weights.DEFAULT), tmp_path / f"{weights.DEFAULT}.safetensors")
    assert again("--model", model) == []  # the same weights
    scheme = (*RUN[:3], "--scheme", "noise 0.5, to 0, fit")
    for changed in (("--seed", 1), ("--quality", 50), ("--compare",)):
        assert again(*changed) == ALL
        assert again(*changed) == []
    assert again(arguments=(*RUN[:3], "--nfe", "2")) == ALL
    assert again(arguments=scheme) == ALL
    assert again(arguments=scheme) == []


def test_another_model_recomputes_all(again, tmp_path, model):
    other = tmp_path / "other.safetensors"
    description, _ = weights.read(weights.find(weights.DEFAULT))
    network = next(part for part in model.network.modules() if type(part).__name__ == description["architecture"])
    weights.save_model(other, network, description["config"], **{**description["model"], "sigma_min": 0.001})
    assert again("--model", other) == ALL


def test_a_changed_mask_recomputes_its_picture(cli, save, face, hole, tmp_path):
    for name in ("a.png", "b.png"):
        save(f"album/{name}", face)
        save(f"masks/{name}", hole)
    run = ("inpaint", tmp_path / "album", "--mask", tmp_path / "masks", "--nfe", 1)
    cli(*run)
    save("masks/b.png", hole[::-1])
    assert "redo" in cli(*run, "--dry-run").stdout.splitlines()[1]
    assert cli(*run).stdout.count(" -> ") == 1
    assert "nothing to do" in cli(*run).stderr
    assert cli(*run, "--grow", 1).stdout.count(" -> ") == 2


def test_skipped_pictures_stay_skipped_and_failed_ones_are_tried_again(cli, save, face, tmp_path, monkeypatch):
    save("album/a.jpg", face, quality=20)
    save("album/never.png", np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8))
    broken = tmp_path / "album" / "broken.png"
    broken.write_bytes(b"no picture")
    run = ("jpeg-restore", tmp_path / "album", "--nfe", 1)
    cli(*run, status=1)
    status = {line["input"]: line["status"] for line in records(tmp_path / "album_restored")}
    assert status == {"a.jpg": "restored", "broken.png": "failed", "never.png": "skipped"}
    read, seen = images.read, []
    monkeypatch.setattr(images, "read", lambda path, **how: seen.append(path.name) or read(path, **how))
    result = cli(*run, status=1)
    assert seen == ["broken.png"]
    assert "never.png: no trace of JPEG compression found" in result.stderr
    save("album/broken.png", Image.open(tmp_path / "album" / "a.jpg"))
    assert cli(*run).stdout.count(" -> ") == 1


def test_an_incomplete_manifest(again, out):
    lines = (out / NAME).read_bytes().splitlines(keepends=True)
    (out / NAME).write_bytes(b"\xff{]\n[]\n" + lines[0] + lines[1] + lines[2][:50])
    (out / "deep" / "c.png").unlink()
    assert again() == ["deep/c.png"]
    assert again() == []
    assert (out / NAME).read_bytes().endswith(lines[2][:50] + b"\n" + (out / NAME).read_bytes().splitlines(True)[-1])


def test_foreign_outputs_are_safe(cli, album, out, save, face):
    save("album_x2/b.png", face)
    line = cli.refuses(out.parent, *RUN, album, "-r")
    assert "b.png exists" in line
    assert "--overwrite" in line
    assert "--resume" in line
    cli(*RUN, album, "-r", "--resume")
    assert np.array_equal(np.asarray(Image.open(out / "b.png")), face)
    assert "b.png exists" in cli.refuses(out.parent, *RUN, album, "-r")
    save("album_x2/a_compare.png", face)
    assert "a_compare.png" in cli.refuses(out.parent, *RUN, album, "-r", "--compare")
    assert cli(*RUN, album, "-r", "--overwrite").stdout.count(" -> ") == 1
    assert "nothing to do" in cli(*RUN, album, "-r").stderr


def test_outputs_of_another_task_are_foreign(again, cli, album, out):
    assert "exists" in cli.refuses(out.parent, "jpeg-restore", album, "-r", "-o", out)


def test_files_into_a_folder_have_a_manifest_too(cli, album, tmp_path):
    run = (*RUN, album / "a.png", album / "b.png", "-o", tmp_path / "there")
    cli(*run)
    assert "nothing to do" in cli(*run).stderr
    assert not list(album.glob(".*"))


def test_a_dry_run_lists_and_writes_nothing(cli, album, out, save, face):
    before = contents(out.parent)
    lines = cli(*RUN, album, "-r", "--dry-run").stdout.splitlines()
    assert lines == [f"restore {album / name} -> {out / name}" for name in ALL]
    assert contents(out.parent) == before
    assert not out.exists()
    cli(*RUN, album)
    save("album/a.png", face[:5])
    save("album_x2/deep/c.png", face)
    before = contents(out.parent)
    result = cli(*RUN, album, "-r", "--dry-run", status=2)
    assert result.stdout.splitlines() == [
        f"redo {album}/a.png -> {out}/a.png (input changed)",
        f"keep {album}/b.png -> {out}/b.png (it is complete)",
        f"refuse {album}/deep/c.png -> {out}/deep/c.png (it exists, and no run of this command has written it)",
    ]
    assert "c.png exists" in result.stderr
    document = json.loads(cli(*RUN, album, "-r", "--dry-run", "--resume", "--json").stdout)
    assert [entry["status"] for entry in document["files"]] == ["keep"] * 3
    assert contents(out.parent) == before


def test_a_second_run_at_the_same_time_is_refused(cli, album, out):
    cli(*RUN, album)
    with FileLock(out / LOCK):
        line = cli.refuses(out.parent, *RUN, album, "-r")
    assert f"{out}: another run is writing there" in line
    cli(*RUN, album, "-r")


def test_a_full_disk_ends_the_run(cli, album, out, monkeypatch):
    write, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        written.append(path.name)
        if path.name.startswith(".b.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        result = cli(*RUN, album, "-r", status=2)
    [line] = result.stderr.splitlines()
    assert line == (f"error: {out}/b.png: cannot be written: the disk is full; free some space or write elsewhere")
    assert not list(out.rglob("*.part"))
    assert not (out / "b.png").exists()
    assert str(album / "a.png") not in cli(*RUN, album, "-r").stdout
    assert "nothing to do" in cli(*RUN, album, "-r").stderr


def test_the_same_bytes_in_any_order(cli, album, tmp_path):
    run = [*RUN[:3], "--scheme", "noise 0.5, to 0, fit", "--seed", "5"]
    cli(*run, album, "-r", "-o", tmp_path / "one")
    files = [album / name for name in ALL]
    random.Random(0).shuffle(files)
    cli(*run, *reversed(files), "-o", tmp_path / "two")
    cli(*run, album / "b.png", "-o", tmp_path / "alone.png")
    one = {path.name: digest(path) for path in (tmp_path / "one").rglob("*.png")}
    assert {path.name.replace("_x2", ""): digest(path) for path in (tmp_path / "two").glob("*.png")} == one
    assert digest(tmp_path / "alone.png") == one["b.png"]


def test_names_that_are_not_utf8(cli, album, out, save, face):
    strange = album / os.fsdecode(b"\xff\n\xe9.png")
    shutil.copy(album / "a.png", strange)
    cli(*RUN, album)
    assert (out / strange.name).exists()
    assert strange.name in [line["input"] for line in records(out)]
    assert "nothing to do" in cli(*RUN, album).stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_is_resumed(cli, save, face, tmp_path, number, status):
    for n in range(24):
        save(f"album/{n:02}.png", np.roll(face, n, 0))
    returned, stderr = stopped(tmp_path, [*RUN, "album"], number, 3, env=ENVIRONMENT)
    assert returned == status
    out = tmp_path / "album_x2"
    if number == signal.SIGTERM:
        assert stderr.splitlines()[-1] == "interrupted"
        assert "of 24 files done; the same command resumes the run" in stderr
        assert not list(out.glob("*.part"))
    else:
        # what a kill in the middle of writing leaves
        (out / ".23.png.0123456789abcdef.part").write_bytes(b"half")
    before = {path.name: digest(path) for path in out.glob("*.png")}
    assert 3 <= len(before) < 24
    assert all(Image.open(out / name).size == (80, 96) for name in before)
    document = json.loads(cli(*RUN, tmp_path / "album", "--json").stdout)
    kept = {Path(entry["input"]).name for entry in document["files"] if entry["status"] == "kept"}
    assert kept == set(before)
    assert len(list(out.glob("*.png"))) == 24
    assert sorted(path.name for path in out.glob(".*")) == [NAME, LOCK]
    assert {name: digest(out / name) for name in before} == before


def test_lines_are_not_lost_while_a_decoder_is_silenced(capsys):
    silenced, go_on = threading.Event(), threading.Event()

    def decode() -> None:
        with libraries_silenced():
            silenced.set()
            go_on.wait(0.2)

    thread = threading.Thread(target=decode)
    thread.start()
    silenced.wait()
    printing.result("a result")
    printing.note("a note")
    go_on.set()
    thread.join()
    assert capsys.readouterr() == ("a result\n", "a note\n")
