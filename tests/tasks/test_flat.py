"""Flat areas stay flat: no task adds texture to them."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import images, tasks, weights
from bcm_restore.operators.local_range import SLACK, cells, clamp_to_surroundings

COLOURS = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (20, 70, 210)]


@pytest.fixture(scope="module", params=["bcm-photo", "bcm-photo-small"])
def model(request):
    return weights.load_model(request.param, device="cpu")


def flat(colour, size=(40, 48)):
    return np.full((*size, 3), colour, np.uint8)


def off(restored, colour):
    return np.abs(restored.astype(int) - np.array(colour)).max()


@pytest.mark.parametrize(
    ("nfe", "colour"), [*zip(tasks.NFES, COLOURS, strict=True), (1, (61, 61, 61)), (4, (255, 255, 255))]
)
def test_every_task_leaves_flat_pictures_flat(model, nfe, colour, tmp_path):
    thin, wide = np.zeros((40, 48), bool), np.zeros((40, 48), bool)
    thin[5:7], wide[8:30, 10:36] = True, True
    for mask in (thin, wide):
        damaged = np.where(mask[..., None], 255 - np.array(colour), flat(colour)).astype(np.uint8)
        assert off(tasks.get("inpaint").restore(damaged, mask=mask, nfe=nfe, model=model), colour) <= 1
    for scale in (2, 4):
        larger = tasks.get("super-resolve").restore(flat(colour, (7, 9)), scale=scale, nfe=nfe, model=model)
        assert off(larger, colour) <= 1
    Image.fromarray(flat(colour)).save(tmp_path / "flat.jpg", quality=10)
    decoded, coefficients = images.read(tmp_path / "flat.jpg").pixels, images.jpeg_coefficients(tmp_path / "flat.jpg")
    restored = tasks.get("jpeg").restore(decoded, coefficients=coefficients, nfe=nfe, model=model)
    assert off(restored, decoded[0, 0]) <= 1
    for kernel in ("gaussian:2", "motion:15:0"):
        assert off(tasks.get("deblur").restore(flat(colour), kernel=kernel, nfe=nfe, model=model), colour) <= 1
    for sigma in (5, 50):
        assert off(tasks.get("denoise").restore(flat(colour), sigma=sigma, nfe=nfe, model=model), colour) <= 1


@pytest.mark.parametrize(("task", "inputs"), [("deblur", {"kernel": "motion:9:0"}), ("denoise", {"sigma": 25})])
def test_flat_pictures_that_are_restored_in_files(model, task, inputs, monkeypatch):
    monkeypatch.setattr("bcm_restore.spans.LARGE", 1000)
    monkeypatch.setattr("bcm_restore.spans.BAND_PIXELS", 640)
    assert off(tasks.get(task).restore(flat((0, 0, 255)), nfe=1, model=model, **inputs), (0, 0, 255)) <= 1


@pytest.mark.parametrize("scale", [3, 8])
def test_other_scales(model, scale):
    for nfe in (1, 4):
        assert off(tasks.get("super-resolve").restore(flat(128, (5, 6)), scale=scale, nfe=nfe, model=model), 128) <= 1


def test_flat_areas_of_a_picture_stay_flat_too(model):
    """A sky beside a fence: away from the fence, no texture is added."""
    picture = flat(200, (24, 40))
    picture[:, 30::2] = 40
    larger = tasks.get("super-resolve").restore(picture, scale=4, model=model)
    assert off(larger[:, : 4 * 25], 200) <= 1
    assert np.ptp(larger[:, 4 * 31 :].astype(int)) > 50
    buffer = io.BytesIO()
    Image.fromarray(np.kron(picture, np.ones((4, 4, 1), np.uint8))).save(buffer, "JPEG", quality=20, subsampling=0)
    decoded = np.asarray(Image.open(buffer))
    restored = tasks.get("jpeg").restore(decoded, input_quality=20, model=model)
    assert off(restored[:, : 4 * 22], decoded[0, 0]) <= 1


@settings(deadline=None)
@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)), cell=st.integers(1, 9), radius=st.integers(0, 2))
def test_pixels_are_clamped_to_the_range_of_the_cells_around(size, cell, radius):
    (height, width), generator = size, torch.Generator().manual_seed(0)
    seen, x = (torch.randn(2, 3, height, width, generator=generator) for _ in range(2))
    low, high = cells(seen, cell)
    clamped = clamp_to_surroundings(3 * x, low, high, cell, radius)
    for row in range(height):
        for column in range(width):
            spans = [(place // cell - radius, place // cell + radius + 1) for place in (row, column)]
            rows, columns = (slice(max(first, 0) * cell, max(last, 0) * cell) for first, last in spans)
            around = seen[:, :, rows, columns].flatten(2)
            least, greatest = around.amin(2), around.amax(2)
            slack = SLACK * (greatest - least)
            expected = (3 * x[:, :, row, column]).clamp(least - slack, greatest + slack)
            torch.testing.assert_close(clamped[:, :, row, column], expected, rtol=0, atol=0)


def test_strips_of_cells_equal_the_whole(monkeypatch):
    x = torch.randn(1, 3, 50, 20, generator=torch.Generator().manual_seed(0))
    low, high = cells(x / 4, 4)
    whole = clamp_to_surroundings(x, low, high, 4)
    monkeypatch.setattr("bcm_restore.operators.local_range.STRIP", 3)
    assert torch.equal(clamp_to_surroundings(x, low, high, 4), whole)
    assert not torch.equal(whole, x)
