"""Tasks of other packages: found by their entry point, run on files with the inputs that they declare."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bcm_restore import batch
from bcm_restore.errors import RestoreError

MODULE = """
from pathlib import Path

from torch import Tensor

from bcm_restore.operators import Mask
from bcm_restore.tasks import Input, Problem, Task


class Brighten(Task):
    name = "brighten"
    summary = "makes pictures lighter"
    inputs = (
        Input("strength", float, "How much lighter.", default=0.5, minimum=0, maximum=1),
        Input("only_red", bool, "Leave green and blue as they are."),
        Input("notes", Path, "A file whose length is added, in thousandths."),
        Input("reason", str, "Why.", required=True),
    )

    def problem(self, image: Tensor, *, strength=0.5, only_red=False, notes=None, reason=None) -> Problem:
        assert reason
        strength += len(Path(notes).read_bytes()) / 1000 if notes else 0
        y = image.clone()
        y[:, : 1 if only_red else 3] += strength
        y = y.clamp(-1, 1)
        return Problem(Mask(y[:, :1] == y[:, :1]), y, y)  # all of it is known

    def schemes_file(self) -> Path:
        return Path(__file__).with_name("brighten.toml")


class Clashing(Brighten):
    name = "clashing"
    inputs = (Input("seed", int, "Its own."),)
"""
SCHEMES = """
[bcm-photo.any]
1 = "noise 0.1, to 0, fit"
4 = "noise 0.1, to 0, fit, noise 0.1, to 0, noise 0.1, to 0, noise 0.1, to 0, fit"
"""


@pytest.fixture(autouse=True)
def package(tmp_path_factory, monkeypatch) -> None:
    """An installed package with two tasks."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "toy_tasks.py").write_text(MODULE)
    (folder / "brighten.toml").write_text(SCHEMES)
    info = folder / "toy_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-tasks\nVersion: 1.0\n")
    points = "brighten = toy_tasks:Brighten\nclashing = toy_tasks:Clashing\n"
    (info / "entry_points.txt").write_text(f"[bcm_restore.tasks]\n{points}")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_tasks", raising=False)


@pytest.fixture
def album(save, face, tmp_path) -> Path:
    for n in range(2):
        save(f"album/{n}.png", np.roll(face, n, 0))
    return tmp_path / "album"


RUN = ("run", "brighten", "--nfe", "1", "--reason", "dark")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_a_folder_with_its_own_options(cli, album, face, tmp_path):
    said = cli(*RUN, album, "--strength", 0.25, "--only-red").stdout
    assert f"{album / '0.png'} -> {tmp_path / 'album_brighten' / '0.png'} (40x48, NFE 1" in said
    out = pixels(tmp_path / "album_brighten" / "0.png")
    assert abs(out[..., 0] - np.minimum(face[..., 0] + 0.25 * 127.5, 255)).max() <= 1
    assert (out[..., 1:] == face[..., 1:]).all()
    assert "nothing to do" in cli(*RUN, album, "--strength", 0.25, "--only-red").stderr
    files = json.loads(cli(*RUN, album, "--strength", 0.5, "--json", "--dry-run").stdout)["files"]
    assert {(file["status"], file["remark"]) for file in files} == {("redo", "settings changed")}


def test_a_file_among_the_inputs_counts_by_its_content(cli, album, save, tmp_path):
    (notes := tmp_path / "notes.txt").write_text("x" * 100)
    command = (*RUN, album, "--notes", notes)
    cli(*command)
    assert "nothing to do" in cli(*command).stderr
    notes.write_text("x" * 200)
    files = json.loads(cli(*command, "--json").stdout)["files"]
    assert [file["status"] for file in files] == ["restored"] * 2


def test_from_python(album, face, tmp_path):
    outcomes = list(batch.restore("brighten", album, output=tmp_path / "out", nfe=1, strength=0.5, reason="dark"))
    assert [outcome.status for outcome in outcomes] == ["restored"] * 2
    assert abs(pixels(tmp_path / "out" / "0.png") - np.minimum(face + 0.5 * 127.5, 255)).max() <= 1
    with pytest.raises(TypeError, match="unexpected keyword argument 'strenght'; did you mean 'strength'"):
        batch.restore("brighten", album, strenght=1, reason="dark")
    with pytest.raises(RestoreError, match="task 'brighten' needs reason: Why"):
        batch.restore("brighten", album)


def test_help_and_errors(cli, album, tmp_path):
    listing = cli("run", "--help").stdout
    assert cli("run").stdout.strip() == listing.strip()
    for name in ("brighten", "inpaint", "jpeg", "super-resolve", "interpolate"):
        assert name in listing
    text = cli("run", "brighten", "--help").stdout
    for word in (
        "--strength",
        "--only-red",
        "--notes",
        "--reason",
        "How much lighter.",
        "makes pictures lighter",
        "--nfe",
    ):
        assert word in text
    assert "--reason" in cli.refuses(tmp_path, "run", "brighten", album)
    assert "give 1 or less" in cli.refuses(tmp_path, *RUN, album, "--strength", 2)
    assert "task 'brigthen' is not known; did you mean 'brighten'?" in cli.refuses(tmp_path, "run", "brigthen", album)
    assert "an input 'seed', an option of every command" in cli.refuses(tmp_path, "run", "clashing", album)
    assert "Cannot be run" in cli("run", "clashing", "--help").stdout


def test_tasks_of_this_package_have_their_own_commands(cli, photo, mask, tmp_path):
    cli("run", "inpaint", photo, "--mask", mask, "--nfe", 1, "-o", tmp_path / "one.png")
    cli("inpaint", photo, "--mask", mask, "--nfe", 1, "-o", tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert "--input-quality" in cli("run", "jpeg", "--help").stdout


def test_a_step_of_a_chain(album, face, tmp_path):
    (notes := tmp_path / "my notes.txt").write_text("x" * 100)

    def statuses():
        steps = f"brighten strength=0.1 only-red notes='{notes}' reason=dark, super-resolve x2 noise=0"
        outcomes = list(batch.restore("restore", album, steps=steps, nfe=1))
        assert all(outcome.size == (80, 96) for outcome in outcomes)
        return [outcome.status for outcome in outcomes]

    assert statuses() == ["restored"] * 2
    list(batch.restore("super-resolve", album, scale=2, noise=0, nfe=1))
    lighter = pixels(tmp_path / "album_restored" / "0.png") - pixels(tmp_path / "album_x2" / "0.png")
    assert abs(np.median(lighter[..., 0]) - 0.2 * 127.5) < 2 and abs(np.median(lighter[..., 1:])) < 1
    assert statuses() == ["kept"] * 2
    notes.write_text("y")
    assert statuses() == ["restored"] * 2
    for steps, message in (
        ("brighten strenght=1 reason=why", "there is no option 'strenght'; did you mean 'strength'"),
        ("brighten", "needs reason"),
    ):
        with pytest.raises(RestoreError, match=message):
            batch.restore("restore", album, steps=steps)
