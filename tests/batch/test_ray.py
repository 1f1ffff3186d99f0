"""Folders on a Ray cluster: the same outputs as without one, wherever the files are."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import stopped
from PIL import Image

from bcm_restore.batch import cluster
from bcm_restore.batch.manifest import NAME

cluster.silence()
ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ON_RAY = ("--engine", "ray")
RUN = ("jpeg-restore", "--nfe", "1", "--device", "cpu")


def prepared(folder: Path) -> Callable[[], None]:
    """What processes do first: `s3://` is the folder, actors write their names there, one picture kills them."""
    place = str(folder)

    def prepare() -> None:
        import fsspec
        from fsspec.implementations.dirfs import DirFileSystem

        from bcm_restore.batch.cluster import Restorer

        class Bucket(DirFileSystem):
            protocol, root_marker, sep = "s3", "", "/"

            def __init__(self, **options):
                super().__init__(path=place, target_protocol="file")

        def restore(self, batch):
            sources = [str(item.ticket.job.source) for item in batch["item"]]
            if any("deadly" in source for source in sources):
                os._exit(1)
            actors = Path(place, "bucket", "actors")
            if actors.is_dir():
                (actors / str(os.getpid())).touch()
                deadline = time.monotonic() + 30
                while len(list(actors.iterdir())) < 2 and time.monotonic() < deadline:
                    time.sleep(0.01)
            return work(self, batch)

        fsspec.register_implementation("s3", Bucket, clobber=True)
        work, Restorer.__call__ = Restorer.__call__, restore

    return prepare


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[Path]:
    """The folder behind `s3://bucket`, with a cluster whose processes know it."""
    folder, work = tmp_path_factory.mktemp("bucket"), cluster.Restorer.__call__
    prepare = prepared(folder)
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": prepare},
    )
    prepare()
    (folder / "bucket" / "actors").mkdir(parents=True)
    yield folder / "bucket"
    ray.shutdown()
    cluster.Restorer.__call__ = work


@pytest.fixture
def album(save, face, hole, tmp_path) -> Path:
    """Six JPEGs of two sizes in two folders, a file that is not a picture, and their masks in another folder."""
    for n in range(6):
        name = f"{'deep/' * (n % 3 == 2)}{n}"
        size = 48 - 8 * (n % 2)
        save(f"album/{name}.jpg", np.roll(face, n, 0)[:size], quality=30)
        save(f"masks/{name}.png", np.roll(hole, n, 1)[:size])
    (tmp_path / "album" / "broken.jpg").write_bytes(b"no picture")
    save("masks/broken.png", hole)
    return tmp_path / "album"


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def reported(result) -> dict[str, dict]:
    """The report on each picture, by name, without its time and its output's folder."""
    files = json.loads(result.stdout)["files"]
    return {
        Path(entry["input"]).name: {
            key: Path(value).name if key in ("input", "output", "compare") and value else value
            for key, value in entry.items()
            if key not in ("seconds", "error")
        }
        for entry in files
    }


def status(result) -> dict[str, str]:
    return {name: entry["status"] for name, entry in reported(result).items()}


def test_the_same_as_without_a_cluster(bucket, album, cli, tmp_path, save, face):
    run = ("--nfe", 1, "--device", "cpu", "--compare", "--json")
    local = cli("inpaint", album, "-r", "--mask", tmp_path / "masks", *run, status=1)
    shutil.copytree(album, bucket / "album")
    shutil.copytree(tmp_path / "masks", bucket / "masks")
    on_ray = ("inpaint", "s3://bucket/album", "-r", "--mask", "s3://bucket/masks", *run, *ON_RAY)
    out = bucket / "album_inpainted"
    result = cli(*on_ray, status=1)
    assert len(list((bucket / "actors").iterdir())) == 2
    shutil.rmtree(bucket / "actors")
    document = json.loads(result.stdout)
    assert document["device"] == "2 x cpu"
    assert document["files"][5]["output"] == "s3://bucket/album_inpainted/deep/2.png"
    assert len(pictures(out)) == 12
    assert pictures(out) == pictures(tmp_path / "album_inpainted")
    assert reported(result) == reported(local)
    assert result.stderr == local.stderr.replace(str(tmp_path / "album"), "s3://bucket/album")
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    assert {line["input"]: line["status"] for line in lines} == {
        **{f"{n}.jpg": "restored" for n in (0, 1, 3, 4)},
        **{f"deep/{n}.jpg": "restored" for n in (2, 5)},
        "broken.jpg": "failed",
    }

    (bucket / "album" / "broken.jpg").unlink()
    for name in ("1", "deadly"):
        Image.fromarray(face[:9]).save(bucket / "album" / f"{name}.jpg")
        Image.fromarray(np.eye(9, 40, dtype=bool)).save(bucket / "masks" / f"{name}.png")
    kept = {f"{n}.jpg": "kept" for n in (0, 2, 3, 4, 5)}
    result = cli(*on_ray, status=1)
    assert status(result) == {**kept, "1.jpg": "restored", "deadly.jpg": "failed"}
    assert "error: s3://bucket/album/deadly.jpg: its process died" in result.stderr
    assert Image.open(out / "1.png").size == (40, 9)
    rehearsed = status(cli(*on_ray, "--dry-run"))
    assert rehearsed == {**dict.fromkeys(kept, "keep"), "1.jpg": "keep", "deadly.jpg": "restore"}


def test_a_file_alone_has_the_error_of_the_command(bucket, save, cli, tmp_path):
    noise = save("never.png", np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8))
    here, there = (cli.refuses(tmp_path, *RUN, noise, *engine) for engine in ((), ON_RAY))
    assert here == there


def test_a_run_that_is_stopped_and_killed_is_resumed(bucket, save, face, cli, tmp_path):
    for n in range(24):
        save(f"album/{n:02}.jpg", np.tile(np.roll(face, n, 0), (6, 6, 1)), quality=30)
    out, address = tmp_path / "album_restored", ray.get_runtime_context().gcs_address
    run = [*RUN, "album", *ON_RAY, "--address", address]
    returned, stderr = stopped(tmp_path, run, signal.SIGTERM, 2)
    assert returned == 128 + signal.SIGTERM
    assert stderr.splitlines()[-1] == "interrupted" and "Traceback" not in stderr
    assert "of 24 files done; the same command resumes the run" in stderr
    assert not list(out.glob("*.part"))
    written = len(list(out.glob("*.png")))
    # with --json a run of over a minute does not print its progress
    assert stopped(tmp_path, [*run, "--json"], signal.SIGKILL, written + 2) == (-signal.SIGKILL, "")
    assert written + 2 <= len(list(out.glob("*.png"))) < 24
    with (out / NAME).open() as file:
        recorded = {line["output"] for line in map(json.loads, file) if line["status"] == "restored"}
    states = status(cli(*RUN, tmp_path / "album", "--json", *ON_RAY))
    assert {name for name, state in states.items() if state == "kept"} == {
        name.replace(".png", ".jpg") for name in recorded
    }
    assert set(states.values()) <= {"kept", "restored"}
    assert len(states) == 24
    cli(*RUN, *sorted((tmp_path / "album").glob("1?.jpg")), "-o", tmp_path / "local")
    local = {name.replace("_restored", ""): data for name, data in pictures(tmp_path / "local").items()}
    assert local == {name: data for name, data in pictures(out).items() if name[0] == "1"}
    assert len(pictures(out)) == 24


def test_urls_without_a_cluster(save, face, cli, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    save("album/a.jpg", face, quality=30)
    memory.pipe("/album/a.jpg", (tmp_path / "album" / "a.jpg").read_bytes())
    try:
        cli(*RUN, "memory://album")
        cli(*RUN, tmp_path / "album")
        assert memory.cat("/album_restored/a.png") == (tmp_path / "album_restored" / "a.png").read_bytes()
        assert "nothing to do" in cli(*RUN, "memory://album").stderr
        memory.pipe("/there/a.png", b"foreign")
        line = cli.refuses(tmp_path, *RUN, "memory://album", "-o", "memory://there")
        assert "memory://there/a.png exists" in line
        assert memory.cat("/there/a.png") == b"foreign"
        line = cli.refuses(tmp_path, *RUN, "memory://album/a.jpg", "-o", "memory://album/a.jpg")
        assert "memory://album/a.jpg is an input and is not overwritten" in line
    finally:
        memory.store.clear()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--address", "head:6379"), "--engine ray"),
        ((*ON_RAY, "--join"), "--join exclude each other"),
        ((*ON_RAY, "--device", "cuda:0,cuda:1"), "--device cuda:0,cuda:1: Ray chooses the devices"),
    ],
)
def test_options_that_exclude_each_other(photo, cli, tmp_path, options, words):
    assert words in cli.refuses(tmp_path, *RUN, photo, *options)


def test_no_cluster_at_the_address(photo, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    line = cli.refuses(tmp_path, *RUN, photo, *ON_RAY, "--address", "127.0.0.1:1")
    assert "--address 127.0.0.1:1: no Ray cluster answers there" in line


def test_what_is_not_installed_is_named(photo, cli, tmp_path, monkeypatch):
    for module in ("ray", "upath"):
        monkeypatch.setitem(sys.modules, module, None)
    line = cli.refuses(tmp_path, *RUN, photo, *ON_RAY)
    assert line == 'error: --engine ray needs Ray; pip install "bcm-restore[ray]"'
    line = cli.refuses(tmp_path, *RUN, "s3://bucket/album")
    assert line == 'error: s3://bucket/album: URLs need universal-pathlib; pip install "bcm-restore[ray]"'
