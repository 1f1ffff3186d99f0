"""What holds for every task."""

import functools
import io
import os
import warnings

import numpy as np
import pytest
import torch
from helpers.damage import compressed, lines
from helpers.toys import Tight
from PIL import Image

from bcm_restore import tasks, weights
from bcm_restore.errors import RestoreWarning
from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet, Network
from bcm_restore.tasks import base


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(portrait, model):
    mask = lines(portrait.shape[:2])
    a, b, c = (
        tasks.get("inpaint").restore(portrait, mask=mask, scheme="noise 0.3, to 0, fit", seed=seed, model=model)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


class Counting(Network):
    """F = x / 2 where levels are uniform; counts its calls and the images in them."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x, t, u, maps=None):
        self.batches.append(len(x))
        return x / 2


def test_batched_pictures_equal_single_ones(portrait, tmp_path):
    """Each with its own level, operator and coefficients."""
    pictures, coefficients = zip(*(compressed(portrait, tmp_path, quality) for quality in (10, 30, 50)), strict=True)
    inputs = [{"coefficients": own} for own in coefficients]
    network = Counting()
    counting = BCM(network, device="cpu")
    task, run_kwargs = tasks.get("jpeg"), {"scheme": "level 1t0, noise 1.2t0, mean, fit, renoise 0.5t0 0.3, to 0, fit"}
    together = task.run_together(pictures, inputs, model=counting, **run_kwargs)
    assert network.batches == [3, 3]
    for picture, own, made in zip(pictures, inputs, together, strict=True):
        alone = task.run(picture, model=counting, **own, **run_kwargs)
        np.testing.assert_array_equal(made.image, alone.image)
        assert (made.scheme, made.nfe, made.case) == (alone.scheme, 2, "any")
        assert not np.array_equal(made.image, picture)


def test_pictures_with_different_schemes_are_not_batched(portrait):
    thin, wide = lines((128, 128)), np.zeros((128, 128), bool)
    wide[30:90, 30:90] = True
    network = Counting()
    masks = [{"mask": thin}, {"mask": wide}, {"mask": thin.T}]
    made = tasks.get("inpaint").run_together([portrait] * 3, masks, model=BCM(network, device="cpu"), nfe=1)
    assert [one.case for one in made] == ["thin", "wide", "thin"]
    assert network.batches == [2, 1]
    for one, inputs in zip(made, masks, strict=True):
        assert np.array_equal(one.image[~inputs["mask"]], portrait[~inputs["mask"]])


@pytest.mark.parametrize(
    ("name", "capacity", "inputs"),
    [("super-resolve", 0, {"scale": 2}), ("super-resolve", 1, {"scale": 2}), ("interpolate", 0, {"frames": 3})],
)
def test_out_of_memory_falls_back_to_the_cpu(portrait, name, capacity, inputs, monkeypatch):
    """Device "meta" computes nothing, so that all results are from the CPU."""
    monkeypatch.setattr(base, "_warn_of_cpu_fallback", functools.cache(base._warn_of_cpu_fallback.__wrapped__))
    small = portrait[:32, :32]
    image = (small, small[::-1].copy()) if name == "interpolate" else small
    network, steps = Tight(capacity), []
    model, task = BCM(network, device="meta"), tasks.get(name)
    options = {"scheme": "noise 0.5, to 2, to 0", "seed": 3, **inputs}
    with pytest.warns(RestoreWarning, match="the CPU restores them"):
        found = task.run(image, model=model, progress=lambda *step: steps.append(step), **options)
    assert network.devices[: capacity + 2] == ["meta"] * (capacity + 1) + ["cpu"]
    expected = task.run(image, model=BCM(Tight(), device="cpu"), **options)
    assert np.array_equal(found.image, expected.image)
    assert (found.nfe, steps[-1][0]) == (2, steps[-1][1])
    assert model.device.type == "meta"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns only once
        network.devices.clear()
        task.run(image, model=model, **options)


def test_no_memory_on_the_cpu_is_an_error(portrait, monkeypatch):
    monkeypatch.setattr(Tight, "forward", lambda *inputs: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        tasks.get("super-resolve").restore(portrait[:16, :16], scale=2, model=BCM(Tight(), device="cpu"))


def test_one_pixel_pictures(model):
    pixel = np.full((1, 1, 3), 77, np.uint8)
    assert tasks.get("super-resolve").restore(pixel, scale=2, model=model).shape == (2, 2, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixel).save(buffer, "JPEG", quality=30)
    assert tasks.get("jpeg").restore(pixel, input_quality=30, model=model).shape == (1, 1, 3)


def test_a_model_file_that_changes_is_loaded_again(tmp_path):
    """As in a process that lives long."""
    path = tmp_path / "own.safetensors"
    config = {"channels": (8, 12), "blocks": (1, 1), "middle": 1, "embedding": 16}
    weights.save_model(path, ConvUNet(**config), config)
    first = base.loaded(path)
    assert base.loaded(str(path)) is first
    changed = ConvUNet(**config)
    changed.exit.bias.data.fill_(1)
    weights.save_model(path, changed, config)
    os.utime(path, ns=(0, 1))
    assert base.loaded(path) is not first
