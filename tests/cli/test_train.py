"""`bcm-restore train`, as a user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers.runs import DEADLINE
from PIL import Image

import bcm_restore
from bcm_restore import tasks
from bcm_restore.train.checkpoints import CHECKPOINT

CONFIG = """
[network]
channels = [8, 8]
blocks = [1, 1]
middle = 1
embedding = 16
[data]
crop = 16
held_out = 1
[run]
steps = 3
batch = 4
compile = false
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def pictures(tmp_path, portrait):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(4):
        Image.fromarray(np.roll(portrait, 20 * n, 0)[: 40 + n]).save(folder / f"{n}.png")
    return folder


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_a_model_that_restores(cli, config, pictures, tmp_path, portrait):
    folder = tmp_path / "run"
    result = cli("train", config, "--data", pictures, "-o", folder)
    assert result.stdout.splitlines()[-1].startswith(f"{folder / 'model.safetensors'}: 3 steps in 0.")
    assert "3 pictures, 1 more for validation" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, "log.csv", "model.safetensors"]
    last = lines(folder / "log.csv")[-1]
    assert last["step"] == "3"
    assert all(float(last[name]) > 0 for name in ("diagonal", "semigroup", "psnr_15", "psnr_50", "round_trip", "hole"))
    model = bcm_restore.load_model(folder / "model.safetensors", device="cpu")
    assert model.level_maps and model.diagonal
    assert tasks.get("super-resolve").restore(portrait[:16, :16], scale=2, model=model, nfe=1).shape == (32, 32, 3)


def test_a_run_is_resumed_and_nothing_is_overwritten(cli, config, pictures, tmp_path):
    folder = tmp_path / "run"
    cli("train", config, "--data", pictures, "-o", folder)
    assert "--resume" in cli.refuses(folder, "train", config, "--data", pictures, "-o", folder)
    result = cli("train", config, "--data", pictures, "-o", folder, "--resume", "--steps", 5, "--json")
    facts = json.loads(result.stdout)
    assert (facts["steps"], facts["model"]) == (5, str(folder / "model.safetensors"))
    assert set(facts["losses"]) == {"diagonal", "semigroup"} and "psnr_25" in facts["scores"]
    assert [line["step"] for line in lines(folder / "log.csv")][-3:] == ["3", "4", "5"]


def test_a_model_as_teacher(cli, config, pictures, tmp_path):
    cli("train", config, "--data", pictures, "-o", tmp_path / "first")
    config.write_text(f"{CONFIG}[teacher]\nkind = 'model'\nsource = '{tmp_path / 'first' / 'model.safetensors'}'\n")
    result = cli("train", config, "--data", pictures, "-o", tmp_path / "second", "--json")
    assert set(json.loads(result.stdout)["losses"]) == {"taught", "diagonal", "semigroup"}
    assert all(float(line["taught"]) >= 0 for line in lines(tmp_path / "second" / "log.csv"))


def test_unreadable_pictures_are_reported_and_skipped(cli, config, pictures, tmp_path):
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    Image.new("RGB", (8, 300)).save(pictures / "narrow.png")
    result = cli("train", config, "--data", pictures, "-o", tmp_path / "run", "--steps", 1)
    assert "3 pictures, 1 more for validation, 2 skipped" in result.stderr
    assert "broken.jpg: not a readable picture" in result.stderr
    assert "narrow.png: 8x300 is smaller than the crop, 16" in result.stderr


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (CONFIG, ["--minutes", "1", "--steps", "2"], "--minutes and --steps"),
        (CONFIG, ["--data", "nowhere"], "nowhere: no such file or folder"),
        (CONFIG, [], "no pictures to train on: give --data FOLDER, or 'sources' in the [data] of"),
        ("start = 'bcm-photo-smal'\n" + CONFIG, ["--data", "pictures"], "did you mean 'bcm-photo-small'"),
        (CONFIG.replace("[data]", "[data]\nlabels = true"), ["--data", "pictures"], "is not class-conditional"),
        (CONFIG.replace("crop = 16", "crop = 18"), ["--data", "pictures"], "a multiple of 8"),
        (CONFIG.replace("[8, 8]", "[8]"), ["--data", "pictures"], "cannot be built"),
        (CONFIG.replace("steps", "stops"), ["--data", "pictures"], "tiny.toml: 'run.stops' is not a known key"),
        (
            CONFIG + "[teacher]\nkind = 'dncnn'",
            ["--data", "pictures"],
            "tiny.toml: 'teacher.kind' is 'dncnn'; choose one of",
        ),
        (
            CONFIG + "[teacher]\nkind = 'ffdnet'\nsource = 'gone.pth'",
            ["--data", "pictures"],
            "gone.pth: no such file",
        ),
        (CONFIG, ["--data", "pictures", "--resume"], "omit --resume"),
    ],
)
def test_refusals(cli, config, pictures, tmp_path, monkeypatch, text, arguments, message):
    monkeypatch.chdir(tmp_path)
    config.write_text(text)
    assert message in cli.refuses(tmp_path, "train", config, *arguments)
    assert not (tmp_path / "runs").exists()


def test_an_empty_folder(cli, config, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no pictures in it" in cli.refuses(tmp_path, "train", config, "--data", tmp_path / "empty")


def test_tensorboard(cli, config, pictures, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    cli("train", config, "--data", pictures, "-o", folder, "--tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert {"samples", "round_trip", "denoised", "filled"} <= {tag.split("/")[0] for tag in events.Tags()["images"]}
    assert len(events.Scalars("loss/diagonal")) == 3


def test_tensorboard_is_asked_for_by_name(cli, config, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    arguments = ("train", config, "--data", pictures, "-o", tmp_path / "run", "--tensorboard")
    assert "bcm-restore[train]" in cli(*arguments, status=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(config, pictures, tmp_path, number):
    folder = tmp_path / "run"
    command = ["-m", "bcm_restore", "train", config, "--data", pictures, "-o", folder, "--steps", "100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *map(str, command)], stderr=subprocess.PIPE, text=True, env=environment)
    while not (folder / "log.csv").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "--resume resumes the run" in errors and "Traceback" not in errors
    steps = torch.load(folder / CHECKPOINT, weights_only=True)["steps"]
    assert f"saved at step {steps}" in errors
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, "log.csv", "model.safetensors"]
