"""The commands that generate pictures from noise, and invert pictures to noise and back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from bcm_restore import images, samplers
from bcm_restore.tasks.arrays import to_tensor


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_pixels(x):
    return x.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_generate_writes_a_file_per_picture(cli, model, folder):
    out = cli("generate", "--n", 3, "--size", "24x16", "--seed", 5, "--schedule", "ancestral-2").stdout
    assert out == "3 pictures -> generated/sample_002.png and 2 more (24x16, NFE 2)\n"
    assert sorted(path.name for path in (folder / "generated").iterdir()) == [f"sample_00{i}.png" for i in range(3)]
    expected = as_pixels(samplers.generate(model, 3, "ancestral-2", size=(16, 24), seed=5))
    for i in range(3):
        assert np.array_equal(images.read(folder / "generated" / f"sample_00{i}.png").pixels, expected[i])


def test_pictures_do_not_depend_on_how_many_are_made(cli, folder):
    cli("generate", "--n", 17, "--size", 8, "-o", "many")
    cli("generate", "--n", 1, "--size", 8, "--seed", 16, "-o", "one")
    assert (folder / "many" / "sample_016.png").read_bytes() == (folder / "one" / "sample_000.png").read_bytes()


def test_grid(cli, model, folder):
    report = json.loads(cli("generate", "--n", 5, "--size", "10x8", "--grid", "all.png", "--json").stdout)
    assert report["files"] == ["all.png"]
    assert (report["scheme"], report["nfe"], report["seed"]) == ("noise 80, to 0", 1, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["all.png"]
    grid = images.read(folder / "all.png").pixels
    assert grid.shape == (16, 30, 3)
    expected = as_pixels(samplers.generate(model, 5, size=(8, 10)))
    for i in range(5):
        y, x = i // 3 * 8, i % 3 * 10
        assert np.array_equal(grid[y : y + 8, x : x + 10], expected[i])
    assert not grid[8:, 20:].any()


def test_grid_and_folder(cli, folder):
    cli("generate", "--n", 2, "--size", 8, "--grid", "all.jpg", "-o", "each", "--format", "jpg")
    assert sorted(path.name for path in (folder / "each").iterdir()) == ["sample_000.jpg", "sample_001.jpg"]
    assert Image.open(folder / "all.jpg").size == (16, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedule", "zigzag"], "schedule 'zigzag' is not known; did you mean 'zigzag-3'"),
        (["--schedule", "noise 80, to 0, fit"], "needs measurements"),
        (["--schedule", "noise 80, to 3"], "leaves noise"),
        (["--size", "12x"], "--size '12x': write WIDTHxHEIGHT"),
        (["--size", "0"], "--size '0'"),
        (["--size", "99999"], "16384"),
        (["--grid", "all.xyz"], "suffix"),
        (["-o", "all.png"], "name a folder for the pictures; --grid all.png writes them all to one file"),
        (["--label", "3"], "takes no labels; omit the label"),
        (["--overlap", "8"], "--overlap"),
        (["--model", "none"], "'none' is neither"),
    ],
)
def test_what_generate_refuses(cli, folder, arguments, message):
    assert message in cli.refuses(folder, "generate", "--n", 1, *arguments)


def test_generate_keeps_what_is_there(cli, folder):
    cli("generate", "--n", 2, "--size", 8)
    assert "sample_000.png (and 1 more) exists" in cli.refuses(folder, "generate", "--n", 2, "--size", 8)
    cli("generate", "--n", 2, "--size", 8, "--overwrite")


def test_reconstruct_a_folder(cli, model, save, face, folder):
    save("in/a.png", face)
    save("in/deeper/b.png", face[::-1])
    out = cli("reconstruct", "in", "-r").stdout.splitlines()
    x, _ = to_tensor(face)
    found = samplers.reconstruct(model, x, 2)
    assert out[0].startswith("in/a.png -> in_reconstructed/a.png (40x48, NFE 2, MSE ")
    assert f"MSE {found.mse.item():.5f}" in out[0]
    written = images.read(folder / "in_reconstructed" / "a.png").pixels
    assert np.array_equal(written, as_pixels(found.image)[0])
    both = images.read(folder / "in_reconstructed" / "a_compare.png").pixels
    assert np.array_equal(both, np.concatenate([face, written], axis=1))
    other = samplers.reconstruct(model, to_tensor(np.ascontiguousarray(face[::-1]))[0], 2)
    mean = (found.mse.item() + other.mse.item()) / 2
    assert out[-1] == f"mean MSE {mean:.5f} (2 pictures, NFE 2)"
    assert (folder / "in_reconstructed" / "deeper" / "b_compare.png").is_file()


def test_reconstruct_by_other_schemes(cli, photo):
    report = json.loads(cli("reconstruct", photo, "--nfe", 3, "--json").stdout)
    [entry] = report["files"]
    assert (report["task"], entry["scheme"], entry["nfe"]) == ("reconstruct", "noise 0.07, to 15, to 80, to 0", 3)
    assert 0 < entry["mse"] < 0.25
    far = entry["mse"]
    [entry] = json.loads(
        cli("reconstruct", photo, "--scheme", "noise 0.07, to 0.5, to 0", "--overwrite", "--json").stdout
    )["files"]
    assert 0 < entry["mse"] < far


def test_what_reconstruct_refuses(cli, photo, folder):
    assert "NFE 2 and 3, not 4" in cli.refuses(folder, "reconstruct", photo, "--nfe", 4)
    assert "needs measurements" in cli.refuses(folder, "reconstruct", photo, "--scheme", "noise 1, to 0, fit")
    assert "leaves noise" in cli.refuses(folder, "reconstruct", photo, "--scheme", "noise 0.07, to 80")
    assert "No such option: --compare" in cli.refuses(folder, "reconstruct", photo, "--compare")
    cli("reconstruct", photo)
    assert "photo_reconstructed.png" in cli.refuses(folder, "reconstruct", photo)
