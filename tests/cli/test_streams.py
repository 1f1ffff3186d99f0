"""Standard streams: `-`, closed and full ones, and the lines printed during the work."""

import json
import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bcm_restore.cli import progress, training_view
from bcm_restore.cli.progress import Bar, clock
from bcm_restore.train.trainer import Status

FAST = ("--nfe", "1", "--model", "bcm-photo-small")


def shell(line, **options):
    """Runs a line of the shell, in which $RUN is the command, with the streams of the line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RUN": f"{sys.executable} -m bcm_restore"}
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, timeout=300, check=False, **options
    )


@pytest.fixture
def pipe(cli):
    """Runs a command on standard input; the bytes on standard output, and stderr."""
    from typer.testing import CliRunner

    from bcm_restore.cli import app

    def run(*arguments, data=b"", status=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=data)
        assert result.exit_code == status, result.stderr
        return result.stdout_bytes, result.stderr

    return run


def test_standard_input_and_output_are_the_picture(cli, pipe, photo):
    cli("super-resolve", photo, "--scale", 2, *FAST)
    expected = photo.with_name("photo_x2.png").read_bytes()
    for arguments in (["-"], ["-", "-o", "-"], [photo, "-o", "-"]):
        sent, said = pipe("super-resolve", *arguments, "--scale", 2, *FAST, data=photo.read_bytes())
        assert sent == expected
        assert " -> - (80x96, NFE 1" in said
        assert "/tmp" not in said.replace(str(photo), "")


def test_standard_input_to_a_file_and_formats(pipe, photo, tmp_path):
    sent, _ = pipe(
        "super-resolve", "-", "-o", tmp_path / "x.png", "--scale", 2, *FAST, "--json", data=photo.read_bytes()
    )
    assert json.loads(sent)["files"][0]["input"] == "-"
    assert Image.open(tmp_path / "x.png").size == (80, 96)
    sent, _ = pipe("super-resolve", photo, "-o", "-", "--format", "webp", "--scale", 2, *FAST)
    assert Image.open(BytesIO(sent)).format == "WEBP"


def test_transparency_of_standard_input_is_its_mask(pipe, face):
    data = BytesIO()
    pixels = np.dstack([face, np.full(face.shape[:2], 255, np.uint8)])
    pixels[10:14, 10:14, 3] = 0
    Image.fromarray(pixels).save(data, "PNG")
    sent, _ = pipe("inpaint", "-", "--mask", "alpha", *FAST, data=data.getvalue())
    filled = np.asarray(Image.open(BytesIO(sent)).convert("RGB"))
    known = pixels[:, :, 3] > 0
    assert (filled[known] == face[known]).all()


def test_frames_on_standard_output(pipe, photo):
    sent, _ = pipe("interpolate", "-", photo, "--frames", 3, "--model", "bcm-photo-small", data=photo.read_bytes())
    assert Image.open(BytesIO(sent)).size == (120, 48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "-"], "holds one picture"),
        (["-", "--json"], "--json: standard output is used for the picture"),
        (["-", "--compare"], "--compare: standard output is used for the picture"),
        (["album", "-o", "-"], "-: there are several outputs"),
        (["-"], "-: the file is empty"),
    ],
)
def test_streams_that_are_refused(pipe, save, face, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    save("album/a.png", face)
    sent, said = pipe("super-resolve", *arguments, status=2)
    assert sent == b""
    assert message in said and said.count("\n") == 1


def test_a_file_of_that_name_is_a_file(cli, save, face, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("-", Image.fromarray(face), format="PNG")
    cli("super-resolve", "./-", "-o", "out.png", "--scale", 2, *FAST)
    assert Image.open("out.png").size == (80, 96)


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path, photo, closed):
    """Nothing is said, and no output takes a closed stream's number."""
    result = shell(f"$RUN super-resolve photo.png --scale 2 {' '.join(FAST)} {closed}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert b"Error" not in result.stderr
    assert Image.open(tmp_path / "photo_x2.png").size == (80, 96)


@pytest.mark.slow
def test_results_without_a_reader():
    result = shell("$RUN tasks | head -n 1; exit ${PIPESTATUS[0]}")
    assert result.stdout.count(b"\n") == 1
    assert result.stderr == b""
    assert result.returncode in (0, 1)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux alone has it")  # noqa: PTH110
def test_results_that_do_not_fit():
    result = shell("$RUN tasks > /dev/full")
    assert result.returncode == 2
    assert result.stderr.decode().startswith("error: standard output: cannot be written (No space left")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux alone has it")  # noqa: PTH110
def test_a_picture_that_does_not_fit(tmp_path, photo):
    """A picture that was not sent is not reported as restored."""
    result = shell(f"$RUN super-resolve - --scale 2 {' '.join(FAST)} < photo.png > /dev/full", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.decode().startswith("error: standard output: cannot be written (")
    assert result.stderr.count(b"\n") == 1


def test_lines_where_there_is_no_terminal(capsys, monkeypatch):
    with Bar(2, "results") as bar:
        bar.file(100)
    assert capsys.readouterr().err == ""  # the last line was not long ago
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with Bar(2, "results") as bar:
        bar.evaluation(3, 4)
        bar.file(100)
        bar.evaluation.tile(1, 2)
        bar.file(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("0/2 results done, NFE 3/4 of the next, 0:00:0")
    assert lines[1].startswith("1/2 results done, 0:00:0")
    assert lines[2].startswith("1/2 results done, tile 1/2 of the next")
    assert len(lines) == 3
    with Bar(2, quiet=True) as bar:
        bar.file(100)
    assert capsys.readouterr().err == ""


def test_the_first_step_of_a_training_and_the_wait_for_it_are_printed(capsys, monkeypatch):
    monkeypatch.setattr(training_view, "EVERY", 0.01)
    said = []
    monkeypatch.setattr(training_view.printing, "note", said.append)
    with training_view.View(quiet=False, first="compiling, no step yet") as view:
        while not said:
            pass
        view(Status(1, 150.0, 0.5, {"loss": 1.0}, 3.0, {}))
        monkeypatch.setattr(training_view, "EVERY", 60.0)
        view(Status(2, 151.0, 0.6, {"loss": 1.0}, 3.0, {}))
    assert said[0] == "0:00:00: compiling, no step yet"
    assert [line for line in said if "step 1" in line] == ["50%, step 1, 0:02:30, 3 images/s, loss 1.0000"]
    assert not any("step 2" in line for line in said)


def test_clock():
    assert [clock(seconds) for seconds in (0.4, 59.6, 3725)] == ["0:00:00", "0:01:00", "1:02:05"]
