"""A class-conditional model of one image size, under the published model's name, in every command."""

import json

import numpy as np
import pytest
import torch
from helpers import published

from bcm_restore import images, load_model, tasks, weights


@pytest.fixture(autouse=True)
def _home(cli, tmp_path_factory, monkeypatch):
    """A cache that holds the model."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BCM_RESTORE_HOME", str(folder))
    archive = folder / "fetched.zip"
    archive.write_bytes(published.archive())
    cli("weights", "import", archive, "--name", weights.PUBLISHED, "--file", published.CHECKPOINT)


PUBLISHED = ("--model", weights.PUBLISHED)


def entry(result):
    [found] = json.loads(result.stdout)["files"]
    return found


def default(task, nfe):
    return str(tasks.get(task).schemes()[weights.PUBLISHED]["any"][nfe])


@pytest.mark.parametrize("nfe", [1, 4])
def test_inpaint(cli, photo, mask, face, hole, tmp_path, nfe):
    found = entry(cli("inpaint", photo, "--mask", mask, *PUBLISHED, "--nfe", nfe, "--label", 3, "--json"))
    assert (found["scheme"], found["nfe"]) == (default("inpaint", nfe), nfe)
    filled = images.read(tmp_path / "photo_inpainted.png").pixels
    assert np.array_equal(filled[hole == 0], face[hole == 0])


def test_jpeg_restore_super_resolve_interpolate(cli, save, face, tmp_path):
    jpg, other = save("a.jpg", face, quality=20), save("b.png", face[:, ::-1])
    assert entry(cli("jpeg-restore", jpg, *PUBLISHED, "--json"))["scheme"] == default("jpeg", 4)
    assert entry(cli("super-resolve", other, "--scale", 2, *PUBLISHED, "--json"))["size"] == [80, 96]
    found = entry(cli("interpolate", jpg, other, "--frames", 3, "--nfe", 2, *PUBLISHED, "--label", 1, "--json"))
    assert found["scheme"] == "noise 0.07, to 80, to 0"


def test_generate_and_reconstruct(cli, photo, tmp_path):
    cli("generate", "--n", 2, *PUBLISHED, "--label", 7, "-o", tmp_path / "seven")
    cli("generate", "--n", 2, *PUBLISHED, "-o", tmp_path / "any")
    seven, mean = (images.read(tmp_path / name / "sample_000.png").pixels for name in ("seven", "any"))
    assert seven.shape == (64, 64, 3)
    assert not np.array_equal(seven, mean)
    assert entry(cli("reconstruct", photo, *PUBLISHED, "--json"))["mse"] > 0


def test_unknown_labels(cli, photo, mask, tmp_path):
    command = "inpaint", photo, "--mask", mask, *PUBLISHED
    assert "no label 10; the model's classes are 0 to 9" in cli.refuses(tmp_path, *command, "--label", 10)
    assert "names are known for ImageNet's classes only" in cli.refuses(tmp_path, *command, "--label", "tabby")


def test_overlap_reaches_the_windows(cli, save, tmp_path):
    assert load_model(weights.PUBLISHED, device="cpu", overlap=24).network.overlap == 24
    wide = save("wide.png", np.random.default_rng(0).integers(0, 255, (64, 100, 3), np.uint8))
    for overlap in (8, 40):
        cli("reconstruct", wide, *PUBLISHED, "--overlap", overlap, "-o", tmp_path / f"{overlap}.png")
    a, b = (images.read(tmp_path / f"{overlap}.png").pixels for overlap in (8, 40))
    assert not np.array_equal(a, b)
    line = cli.refuses(tmp_path, "reconstruct", wide, *PUBLISHED, "--overlap", 64, "-o", tmp_path / "no.png")
    assert "overlap" in line
    assert "63" in line


def test_schemes_that_it_was_not_trained_for(cli, photo, mask, tmp_path):
    line = cli.refuses(tmp_path, "inpaint", photo, "--mask", mask, *PUBLISHED, "--scheme", "noise 0.5, mean, fit")
    assert "model 'bcm-imagenet64' has no posterior mean; use a scheme with 'to 0' for 'mean'" in line


def test_from_python(portrait):
    model = load_model(weights.PUBLISHED, device="cpu")
    assert (model.classes, model.diagonal) == (10, False)
    one, other = (
        tasks.get("super-resolve").restore(portrait[:40, :40], scale=2, nfe=1, model=model, label=label)
        for label in (1, 2)
    )
    assert not np.array_equal(one, other)
    assert torch.is_tensor(model.labels([1, 2]))
