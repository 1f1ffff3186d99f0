"""Notes on the limits of a small model."""

import numpy as np
import pytest
import torch
from torch import nn

from bcm_restore.batch import engine
from bcm_restore.batch.recipes.inpaint import wide

FAST = ("--nfe", "1", "--model", "bcm-photo-small")


@pytest.mark.parametrize(("side", "expected"), [(8, False), (56, False), (70, True)])
def test_how_wide_a_hole_is(side, expected):
    hole = np.zeros((120, 300), bool)
    hole[20 : 20 + side, 10:290] = True
    assert wide(hole) == expected
    assert wide(hole.T) == expected
    assert not wide(np.zeros((5, 5), bool))


def test_a_hole_at_the_border_is_as_wide_as_it_is_far_from_what_is_known():
    hole = np.zeros((120, 120), bool)
    hole[:, :40] = True
    assert wide(hole)
    hole[:, 20:] = False
    assert not wide(hole)


def test_wide_holes_are_noted_once(cli, save, tmp_path):
    hole = np.zeros((90, 96), np.uint8)
    hole[10:80, 10:86] = 255
    mask = save("mask.png", hole)
    for name in ("a", "b"):
        save(f"album/{name}.png", np.full((90, 96, 3), 100, np.uint8))
    said = cli("inpaint", tmp_path / "album", "--mask", mask, *FAST).stderr
    assert said.count("\n") == 1
    assert "bcm-photo-small is a small model (2.8 M parameters): holes wider than 60 pixels" in said
    hole[40:50] = 0
    narrow = save("narrow.png", hole)
    assert cli("inpaint", tmp_path / "album", "--mask", narrow, *FAST).stderr == ""


def test_generate_and_interpolate_note_the_limits(cli, photo, tmp_path):
    arguments = ["--model", "bcm-photo-small"]
    said = cli("generate", "--n", 1, "--size", 16, "--grid", tmp_path / "grid.png", *arguments).stderr
    assert "no objects" in said and said.count("\n") == 1
    said = cli("interpolate", photo, photo, "--frames", 2, "-o", tmp_path / "two.png", *arguments).stderr
    assert "blends and blurs" in said and said.count("\n") == 1


def test_no_note_for_large_models():
    class Model:
        name = "large"
        network = nn.Linear(8000, 8000, device="meta")

    assert engine.small_model_note(Model(), "little") is None
    Model.network = nn.Linear(1000, 1000, device=torch.device("meta"))
    assert engine.small_model_note(Model(), "little") == "large is a small model (1.0 M parameters): little"
