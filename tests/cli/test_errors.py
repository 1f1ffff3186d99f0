"""Everything that is refused, in one line."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import DEADLINE, ENVIRONMENT, python, wait_for_outputs
from PIL import Image

from bcm_restore import tasks


@pytest.mark.parametrize(
    "arguments",
    [
        ["inpain"],
        ["--nope"],
        ["inpaint"],
        ["inpaint", "photo.png"],
        ["super-resolve", "photo.png", "--nope"],
        ["super-resolve", "photo.png", "--scale", "5"],
        ["super-resolve", "photo.png", "--nfe", "many"],
        ["super-resolve", "photo.png", "--nfe", "0"],
        ["super-resolve", "photo.png", "--precision", "fp8"],
        ["super-resolve", "photo.png", "--format", "gif"],
        ["super-resolve", "photo.png", "--quality", "0"],
        ["inpaint", "photo.png", "--mask", "masks/mask.png", "--grow", "-1"],
        ["interpolate", "photo.png", "photo.png", "--frames", "1"],
    ],
)
def test_wrong_usage_is_one_line(cli, tmp_path, monkeypatch, photo, mask, arguments):
    monkeypatch.chdir(tmp_path)
    cli.refuses(tmp_path, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "5"], "'--scale': '5' is not one of '2', '3', '4', '8'"),
        (["--nfe", "0"], "'--nfe': give 1 or more"),
        (["--quality", "101"], "'--quality': give 100 or less"),
        (["--nfe", "many"], "'--nfe': give a whole number"),
        (["--max-pixels", "all"], "'--max-pixels': give a number"),
        (["--gpu"], "--gpu is not known here; --device cuda runs on a GPU"),
        (["--threads", "0"], "'--threads': give 1 or more"),
        (["--engine", "ray", "--threads", "2"], "--threads 2: Ray gives each of its processes a core"),
    ],
)
def test_usage_errors_in_our_words(cli, tmp_path, photo, arguments, message):
    line = cli.refuses(tmp_path, "super-resolve", photo, *arguments)
    assert message in line
    assert "Value error" not in line and "Input should" not in line


def test_an_option_without_its_value(cli, tmp_path):
    assert "not known" not in cli.refuses(tmp_path, "train", tmp_path / "x.toml", "--steps")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["super-resolve", ""], "'INPUT'"),
        (["super-resolve", "photo.png", ""], "'INPUT'"),
        (["run", "inpaint", "", "--mask", "masks/mask.png"], "'INPUT'"),
        (["inpaint", "photo.png", "--mask", ""], "'--mask'"),
        (["inpaint", "photo.png", "--mask="], "'--mask'"),
        (["super-resolve", "photo.png", "-o", ""], "'-o' / '--output'"),
        (["interpolate", "", "photo.png"], "'A'"),
        (["weights", "import", ""], "'FILE|FOLDER'"),
        (["bench", "--task", "jpeg", "--data", ""], "'--data'"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(cli, tmp_path, monkeypatch, photo, mask, arguments, name):
    monkeypatch.chdir(tmp_path)
    assert f"Invalid value for {name}: it is empty" in cli.refuses(tmp_path, *arguments)


def test_unknown_command_and_option_offer_close_ones(cli, tmp_path):
    assert "inpaint" in cli.refuses(tmp_path, "inpain")
    assert "--scale" in cli.refuses(tmp_path, "super-resolve", "x.png", "--scal", "4")


def test_what_is_missing_or_unlike_any_command_has_a_way_out(cli, tmp_path, photo):
    unknown = cli.refuses(tmp_path, "frobnicate")
    assert unknown == "error: no such command 'frobnicate'; --help lists them"
    assert cli.refuses(tmp_path, "inpaint", photo) == "error: the option '--mask' is missing; --help says what it takes"
    assert "'A' is missing" in cli.refuses(tmp_path, "interpolate")


def test_missing_file(cli, tmp_path):
    missing = tmp_path / "missing.png"
    for command in (["super-resolve"], ["jpeg-restore"], ["inpaint", "--mask", "alpha"], ["interpolate", missing]):
        assert f"{missing}: no such file" in cli.refuses(tmp_path, *command, missing)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\0\0"])
def test_unreadable_picture(cli, tmp_path, data):
    broken = tmp_path / "broken.png"
    broken.write_bytes(data)
    assert str(broken) in cli.refuses(tmp_path, "super-resolve", broken)


def test_truncated_picture(cli, tmp_path, photo):
    photo.write_bytes(photo.read_bytes()[:-400])
    message = cli.refuses(tmp_path, "super-resolve", photo)
    assert str(photo) in message and "save what a viewer shows of it as PNG and inpaint the rest" in message


def test_folder_without_pictures(cli, tmp_path, photo):
    empty = tmp_path / "empty"
    (empty / "below").mkdir(parents=True)
    photo.rename(empty / "below" / "photo.png")
    assert "no pictures" in cli.refuses(tmp_path, "super-resolve", empty)
    assert "no picture matches" in cli.refuses(tmp_path, "super-resolve", empty / "*.jpg")


def test_mask_of_another_size(cli, tmp_path, photo, save):
    small = save("masks/small.png", np.full((9, 7), 255, np.uint8))
    line = cli.refuses(tmp_path, "inpaint", photo, "--mask", small)
    assert "--fit-mask" in line
    assert "7x9" in line
    assert "40x48" in line


def test_all_white_mask(cli, tmp_path, photo, save):
    white = save("masks/white.png", np.full((48, 40), 255, np.uint8))
    assert "whole picture" in cli.refuses(tmp_path, "inpaint", photo, "--mask", white)


def test_missing_mask(cli, tmp_path, photo, mask):
    assert "nowhere.png" in cli.refuses(tmp_path, "inpaint", photo, "--mask", tmp_path / "nowhere.png")
    line = cli.refuses(tmp_path, "inpaint", photo, "--mask", mask.parent)
    assert "no mask named photo.*" in line
    assert "no transparency" in cli.refuses(tmp_path, "inpaint", photo, "--mask", "alpha")


def test_nfe_without_a_default_scheme(cli, tmp_path, photo):
    line = cli.refuses(tmp_path, "super-resolve", photo, "--nfe", "57")
    assert "57" in line
    assert "1, " in line  # those that exist


@pytest.mark.parametrize("command", ["super-resolve", "jpeg-restore"])
def test_malformed_scheme(cli, tmp_path, photo, command):
    line = cli.refuses(tmp_path, command, photo, "--scheme", "noise 0.5, too 0")
    assert "character 12" in line
    assert "did you mean 'to'" in line
    assert "leaves noise" in cli.refuses(tmp_path, command, photo, "--scheme", "noise 0.5")


def test_scheme_and_nfe_disagree(cli, tmp_path, photo):
    scheme = ["--scheme", "level 0.05, mean, fit"]
    line = cli.refuses(tmp_path, "super-resolve", photo, *scheme, "--nfe", "4")
    assert "NFE 1, not 4" in line
    cli("super-resolve", photo, "--scale", "2", *scheme, "--nfe", "1")


def test_unknown_model_task_and_device(cli, tmp_path, photo):
    assert "bcm-photo-small" in cli.refuses(tmp_path, "super-resolve", photo, "--model", "bcm-photo-smal")
    assert "did you mean 'inpaint'" in cli.refuses(tmp_path, "tasks", "inpant")
    assert "quantum" in cli.refuses(tmp_path, "super-resolve", photo, "--device", "quantum")


def test_a_file_that_is_no_model(cli, tmp_path, photo):
    assert str(photo) in cli.refuses(tmp_path, "super-resolve", photo, "--model", photo)


def test_options_are_checked_before_pictures(cli, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    assert "character 1" in cli.refuses(tmp_path, "super-resolve", broken, "--scheme", "fly")
    assert "model" in cli.refuses(tmp_path, "super-resolve", broken, "--model", "none")
    assert "NFE 57" in cli.refuses(tmp_path, "super-resolve", broken, "--nfe", "57")


def test_output_exists(cli, tmp_path, photo, save, face):
    there = save("photo_x2.png", face)
    line = cli.refuses(tmp_path, "super-resolve", photo, "--scale", "2")
    assert "photo_x2.png exists" in line
    assert "--overwrite" in line
    cli("super-resolve", photo, "--scale", "2", "--nfe", "1", "--overwrite")
    assert Image.open(there).size == (80, 96)


def test_compare_that_exists(cli, tmp_path, photo, save, face):
    save("photo_x2_compare.png", face)
    assert "photo_x2_compare.png exists" in cli.refuses(tmp_path, "super-resolve", photo, "--scale", "2", "--compare")


def test_an_input_is_not_overwritten(cli, tmp_path, photo, mask, save, face):
    assert "is an input" in cli.refuses(tmp_path, "super-resolve", photo, "-o", photo)
    assert "is an input" in cli.refuses(tmp_path, "inpaint", photo, "--mask", mask, "-o", mask)
    assert "is an input" in cli.refuses(tmp_path, "interpolate", photo, photo, "-o", photo)
    (tmp_path / "link.png").hardlink_to(photo)
    assert "is an input" in cli.refuses(tmp_path, "super-resolve", photo, "-o", tmp_path / "link.png")
    folder = save("album/a.png", face).parent
    assert "is an input" in cli.refuses(tmp_path, "super-resolve", folder, "-o", folder, "--overwrite")


def test_an_input_is_overwritten_when_asked(cli, photo):
    cli("super-resolve", photo, "--scale", "2", "--nfe", "1", "-o", photo, "--overwrite")
    assert Image.open(photo).size == (80, 96)


def test_output_names_that_make_no_sense(cli, tmp_path, photo, save, face):
    album = save("album/a.png", face).parent
    for suffix in (".xyz", ".gif"):
        line = cli.refuses(tmp_path, "super-resolve", photo, "-o", tmp_path / f"out{suffix}")
        assert f"not written with the suffix {suffix}" in line and ".png" in line
    assert "end it with /" in cli.refuses(tmp_path, "super-resolve", photo, "-o", tmp_path / "out")
    assert "disagree" in cli.refuses(tmp_path, "super-resolve", photo, "-o", tmp_path / "out.jpg", "--format", "png")
    assert "folder" in cli.refuses(tmp_path, "super-resolve", album, "-o", tmp_path / "out.png")
    assert "folder" in cli.refuses(tmp_path, "super-resolve", photo, "-o", photo / "out.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_to_write(cli, tmp_path, photo):
    tmp_path.chmod(0o500)
    try:
        assert "permission" in cli.refuses(tmp_path, "super-resolve", photo)
    finally:
        tmp_path.chmod(0o700)


def test_no_permission_is_seen_before_the_work(cli, tmp_path, photo, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "no permission" in cli.refuses(tmp_path, "super-resolve", photo)


def test_full_disk(cli, tmp_path, photo, monkeypatch):
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    line = cli.refuses(tmp_path, "super-resolve", photo, "--scale", "2", "--nfe", "1")
    assert "photo_x2.png" in line
    assert "disk is full" in line


def test_bugs_are_one_line_too(cli, tmp_path, photo, monkeypatch):
    def explode(self, *arguments, **options):
        raise MemoryError("out of memory\nfor details")

    monkeypatch.setattr(type(tasks.get("super-resolve")), "run_together", explode)
    line = cli.refuses(tmp_path, "super-resolve", photo)
    assert "MemoryError: out of memory" in line
    assert "--debug" in line
    result = cli("super-resolve", photo, "--debug", status=2)
    assert "Traceback" in result.stderr
    assert "error: MemoryError" in result.stderr


@pytest.mark.slow
def test_names_with_control_characters_are_printed(tmp_path, save, face):
    source = save("photo.png", face)
    for name in (b"[red]a\nb.png", b"\xff\xfe.png", b"-dash.png", "\u00e9.png".encode()):
        (tmp_path / "in" / os.fsdecode(name)).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(source.read_bytes())
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii:strict"}
    run = ["-m", "bcm_restore", "super-resolve", "--scale", "2", "--nfe", "1"]
    result = python(*run, "in", cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 4
    assert "[red]a\\nb.png" in result.stdout
    assert "\\udcff" in result.stdout
    assert "\\xe9.png" in result.stdout
    result = python(*run, "--", "-dash.png", cwd=tmp_path / "in", env=environment)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "in" / "-dash_x2.png").exists()
    result = python(*run, "no\nsuch.png", cwd=tmp_path, env=environment)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_interrupted(tmp_path, save, face):
    for n in range(150):
        save(f"album/{n:03}.png", face)
    run = [sys.executable, "-m", "bcm_restore", "super-resolve", "album", "--nfe", "1", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(run, cwd=tmp_path, env=ENVIRONMENT, **pipes) as process:
        wait_for_outputs(process, tmp_path, 1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    written = [path for path in (tmp_path / "album_x4").iterdir() if not path.name.startswith(".bcm-restore.")]
    assert 0 < len(written) < 150
    assert all(Image.open(path).size == (160, 192) for path in written)
    entries = json.loads(stdout)["files"]
    restored = {tmp_path / entry["output"] for entry in entries if entry["status"] == "restored"}
    assert restored == set(written)
    assert f"{len(restored)} of 150 files done; the same command resumes the run" in stderr
