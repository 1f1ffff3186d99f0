"""Several pictures at once, several devices, several runs in one folder: the same bytes, and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.runs import DEADLINE, contents, die, wait_for_outputs

from bcm_restore.batch import pipeline, processes
from bcm_restore.batch.manifest import CLAIMS, LOCK, NAME, Manifest
from bcm_restore.model import BCM

RUN = ("super-resolve", "--scale", "2", "--nfe", "1")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def files(folder: Path) -> dict[str, str]:
    """Hash of each picture below a folder."""
    return {name: digest for name, digest in contents(folder).items() if not Path(name).name.startswith(".")}


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


@pytest.fixture
def album(save, face, hole, tmp_path) -> Path:
    """Seven JPEGs: five of one size, then two of another, one of them grey; and a mask for each."""
    for n in range(5):
        save(f"album/{n}.jpg", np.roll(face, 3 * n, 1), quality=20 + 10 * n)
        save(f"masks/{n}.png", np.roll(hole, 3 * n, 1))
    save("album/5.jpg", np.ascontiguousarray(face.swapaxes(0, 1)), quality=30)
    save("album/6.jpg", np.ascontiguousarray(face.swapaxes(0, 1)[..., 0]), quality=30)
    save("masks/5.png", np.ascontiguousarray(hole.T))
    save("masks/6.png", np.ascontiguousarray(hole.T))
    return tmp_path / "album"


# Pictures together


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("jpeg-restore", "--nfe", "2"),
        ("super-resolve", "--scale", "2", "--scheme", "noise 0.5, to 0, fit"),
        ("inpaint", "--nfe", "2", "--mask", "masks"),
        ("reconstruct", "--nfe", "2"),
    ],
)
def test_the_same_bytes_for_one_two_or_five_pictures_at_once(cli, album, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    evaluate, calls = BCM._evaluate, Counter()

    def counting(self, x, *arguments):
        calls[len(x)] += 1
        return evaluate(self, x, *arguments)

    monkeypatch.setattr(BCM, "_evaluate", counting)
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(BCM, "at_once", lambda self, height, width, count=count: count)
        calls.clear()
        cli(*command, "album", "-o", f"out{count}")
        assert max(calls) == count
        found.append(files(tmp_path / f"out{count}"))
    assert found[0] == found[1] == found[2]
    assert len([name for name in found[0] if "compare" not in name]) == 7


def test_one_of_several_that_fails_does_not_spoil_the_others(cli, save, face, tmp_path, monkeypatch):
    for n in range(3):
        save(f"album/{n}.jpg", face, quality=20 + n)
    noise = np.random.default_rng(0).integers(0, 256, face.shape, np.uint8)
    save("album/1.png", noise)  # never was a JPEG
    monkeypatch.setattr(BCM, "at_once", lambda self, height, width: 4)
    document = json.loads(cli("jpeg-restore", tmp_path / "album", "--nfe", "1", "--json").stdout)
    statuses = {Path(entry["input"]).name: entry["status"] for entry in document["files"]}
    assert statuses == {"0.jpg": "restored", "1.jpg": "restored", "1.png": "skipped", "2.jpg": "restored"}


def test_similar_neighbours_are_processed_together():
    groups, reports = [], []

    def read(n: int, enter: pipeline.Enter) -> int:
        if n == 4:
            raise ValueError("4")
        return n

    def work(group, loaded):
        groups.append(list(group))
        return [ValueError("7") if n == 7 else n for n in loaded]

    done = pipeline.run(
        [1, 3, 5, 2, 4, 6, 8, 7],
        read,
        work,
        lambda n, made: None,
        lambda n, error: reports.append((n, error is None)),
        alike=lambda n: ("odd" if n % 2 else "even", 2),
    )
    assert list(done) == [1, 3, 5, 2, 4, 6, 8, 7]
    assert groups == [[1, 3], [5], [2], [6, 8], [7]]
    assert reports == [(n, n not in (4, 7)) for n in (1, 3, 5, 2, 4, 6, 8, 7)]


# Several devices


@pytest.mark.slow
def test_the_same_bytes_on_two_devices(cli, album, tmp_path):
    (album / "broken.png").write_bytes(b"no picture")
    run = ("jpeg-restore", album, "--nfe", "1", "--json")
    one = json.loads(cli(*run, "-o", tmp_path / "one", status=1).stdout)
    two = json.loads(cli(*run, "-o", tmp_path / "two", "--device", "cpu,cpu", status=1).stdout)
    assert (one["device"], two["device"]) == ("cpu", "cpu,cpu")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(files(tmp_path / "two")) == 7
    reports = [[(entry["input"], entry["status"], entry["error"]) for entry in run["files"]] for run in (one, two)]
    assert reports[0] == reports[1]
    assert not (tmp_path / "two" / CLAIMS).exists()
    again = cli(*run[:4], "-o", tmp_path / "two", "--device", "cpu,cpu", status=1)
    assert again.stdout == ""
    assert "7 of 8 outputs exist and are kept" in again.stderr


def test_devices_by_name(monkeypatch):
    assert processes.names("auto") == ["auto"]
    assert processes.names("all") == [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes.names("all") == processes.names("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]


def test_a_missing_device_is_named(cli, album):
    before = contents(album.parent)
    line = cli(*RUN, album, "--device", "cpu,cuda:77", status=2).stderr
    assert line.startswith("error: device 'cuda:77' not found")
    assert contents(album.parent) == before


def test_a_process_that_dies_is_reported(cli, album, monkeypatch):
    """The next run restores its current picture."""
    monkeypatch.setattr(processes, "_work", die)
    result = cli(*RUN, album, "--device", "cpu,cpu", status=2)
    assert "error: a process ended with status 3; the same command resumes the run" in result.stderr
    cli(*RUN, album)


# Several runs


def test_a_run_joins_another_if_asked(cli, album):
    out = album.with_name("album_x2")
    with Manifest(out).opened() as other:
        assert other.claim(out / "2.png")
        assert "share its work with --join" in cli(*RUN, album, status=2).stderr
        joined = json.loads(cli(*RUN, album, "--join", "--json").stdout)
        assert {Path(e["input"]).stem: e["status"] for e in joined["files"]} == {
            name: "left" if name == "2" else "restored" for name in "0123456"
        }
        assert (out / CLAIMS).exists()
        other.release(out / "2.png")
        assert "1 of 7" not in cli(*RUN, album, "--join").stderr
    assert Counter(record["output"] for record in records(out)) == Counter(list(files(out)))
    assert not (out / CLAIMS).exists()


def test_a_run_that_joined_keeps_the_folder_locked_after_the_first_ends(cli, album):
    out = album.with_name("album_x2")
    first, second = Manifest(out), Manifest(out)
    with ExitStack() as joined:
        with first.opened():
            joined.enter_context(second.opened(join=True))
        assert second.claim(out / "0.png")
        assert "another run is writing there" in cli(*RUN, album, status=2).stderr
    cli(*RUN, album)


@pytest.mark.slow
@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL])
def test_two_runs_share_a_folder(cli, save, face, tmp_path, number):
    """Also if the first one is stopped: the second restores its current picture, or leaves it to the next run."""
    for n in range(30):
        save(f"album/{n:02}.png", np.roll(face, n, 0))
    out = tmp_path / "album_x2"
    command = [sys.executable, "-m", "bcm_restore", *RUN, "album", "--device", "cpu,cpu"]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as first:
        wait_for_outputs(first, tmp_path, 2)
        if number:
            first.send_signal(number)
        cli(*RUN, tmp_path / "album", "--join")
        first.wait(timeout=DEADLINE)
    cli(*RUN, tmp_path / "album", "--join")
    assert len(files(out)) == 30
    if number is None:
        assert first.returncode == 0
        assert set(Counter(record["output"] for record in records(out)).values()) == {1}
    assert not list(out.glob("*.part"))
    assert LOCK in {path.name for path in out.glob(".*")}
