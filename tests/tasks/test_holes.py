"""Masks of any type in Python, arbitrary values in unknown pixels, and colours hidden by transparency."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bcm_restore import spans, tasks
from bcm_restore.errors import RestoreError
from bcm_restore.tasks.holes import as_hole
from bcm_restore.tasks.transparency import fill_hidden, without_hidden

HOLE = np.zeros((32, 40), bool)
HOLE[10:20, 12:30] = True
SOFT = HOLE.astype(np.float64)
SOFT[9, 12:30] = 0.01


def pictured(mode, colour=(255, 255, 255)):
    white = Image.new("RGBA", (40, 32), (0, 0, 0, 0) if mode == "RGBA" else (0, 0, 0, 255))
    white.paste((*colour, 255), mask=Image.fromarray(HOLE))
    return white if mode == "RGBA" else white.convert(mode)


@pytest.mark.parametrize(
    "mask",
    [
        HOLE,
        HOLE[..., None],
        HOLE.astype(np.uint8),
        HOLE.astype(np.int64)[..., None],
        np.dstack([HOLE * np.uint8(255)] * 3),
        np.dstack([HOLE * np.uint8(0)] * 3 + [HOLE * np.uint8(255)]),
        HOLE.astype(np.float32) * 255,
        HOLE.astype(np.float64)[None],
        torch.from_numpy(HOLE),
        torch.from_numpy(HOLE)[None, None].float(),
        torch.from_numpy(HOLE)[None].expand(3, -1, -1),
        pictured("1"),
        pictured("L"),
        pictured("RGB"),
        pictured("RGB", (90, 0, 0)),
        pictured("RGBA"),
        pictured("RGBA", (0, 0, 0)),
        pictured("RGB").quantize(2),
        Image.fromarray(HOLE.astype(np.int32)),
        Image.fromarray(HOLE.astype(np.float32)),
        Image.fromarray(HOLE.astype(np.uint16) * 300),
    ],
)
def test_masks_of_any_type(mask):
    hole = as_hole(mask, (32, 40))
    assert hole.shape == (1, 1, 32, 40) and hole.dtype == torch.bool
    assert np.array_equal(hole[0, 0].numpy(), HOLE)


def test_partly_covered_pixels_are_marked():
    for mask in (SOFT, SOFT * 255, torch.from_numpy(SOFT)):
        assert np.array_equal(as_hole(mask, (32, 40))[0, 0].numpy(), SOFT > 0)


def test_files_of_masks(tmp_path):
    pictured("L").save(tmp_path / "m.png")
    for path in (tmp_path / "m.png", str(tmp_path / "m.png")):
        assert np.array_equal(as_hole(path, (32, 40))[0, 0].numpy(), HOLE)
    with pytest.raises(RestoreError, match=r"nowhere\.png: no such file"):
        as_hole("nowhere.png", (32, 40))


def test_a_mask_for_each_image_of_a_batch():
    masks = torch.stack([torch.from_numpy(HOLE), torch.from_numpy(HOLE[::-1].copy())])[:, None]
    for kind in (masks, masks.float(), masks.to(torch.uint8) * 255, masks.permute(0, 2, 3, 1).numpy()):
        assert torch.equal(as_hole(kind, (32, 40)), masks)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((32, 40), np.nan), "range from nan to nan"),
        (np.full((32, 40), -1), "range from -1 to 0"),
        (np.zeros((2, 32, 40, 5)), "5"),
        (np.zeros(40), r"\(40,\)"),
        (np.zeros((40, 32)), "the mask is 32x40 and the image 40x32"),
        (np.zeros((30, 30, 3), np.uint8), "the mask is 30x30 and the image 40x32"),
        (np.ones((32, 40)), "covers the whole image"),
        (np.random.default_rng(0).integers(0, 256, (32, 40)), "the mask: cannot find its marks"),
    ],
)
def test_invalid_masks_are_refused(mask, message):
    with pytest.raises(RestoreError, match=message):
        as_hole(mask, (32, 40))


@pytest.fixture
def picture(face):
    return np.ascontiguousarray(face[:32])


@pytest.mark.parametrize("kind", [np.asarray, Image.fromarray, lambda p: torch.from_numpy(p).permute(2, 0, 1)])
def test_strokes_on_a_copy(picture, kind, model):
    copy = picture.copy()
    copy[HOLE] = (255, 0, 0)
    image = kind(picture)
    drawn = kind(copy)
    one, other = (tasks.get("inpaint").restore(image, mask=m, nfe=1, model=model) for m in (drawn, HOLE))
    assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e9])
def test_values_in_unknown_pixels_are_ignored(picture, value, model):
    known = (picture / 255).astype(np.float32)
    damaged = known.copy()
    damaged[HOLE] = value
    plain = np.where(HOLE[..., None], 0, known)
    expected = tasks.get("inpaint").restore(plain, mask=HOLE, nfe=1, model=model)
    for image, mask in ((damaged, HOLE), (damaged, SOFT > 0.5), (damaged, HOLE * 255)):
        assert np.array_equal(tasks.get("inpaint").restore(image, mask=mask, nfe=1, model=model), expected)
    tensor = tasks.get("inpaint").restore(torch.from_numpy(damaged).permute(2, 0, 1), mask=HOLE, nfe=1, model=model)
    assert torch.isfinite(tensor).all()
    assert np.array_equal(np.isfinite(damaged).all(2), ~HOLE if not np.isfinite(value) else np.ones_like(HOLE))


def alpha_of(hole):
    alpha = np.where(hole, 0, 255).astype(np.uint8)
    alpha[9, 12:30] = 100
    return alpha


def hiding(picture, colour, hole=HOLE):
    """An RGBA picture with a colour in its transparent pixels."""
    pixels = picture.copy()
    pixels[hole] = colour
    return Image.fromarray(np.dstack([pixels, alpha_of(hole)]))


@pytest.mark.parametrize(("name", "inputs"), [("super-resolve", {"scale": 2}), ("jpeg", {"input_quality": 30})])
def test_hidden_colours_are_ignored(picture, name, inputs, model):
    black, green = (
        tasks.get(name).restore(hiding(picture, colour), nfe=1, model=model, **inputs)
        for colour in ((0, 0, 0), (0, 255, 0))
    )
    assert black.mode == "RGBA"
    assert np.array_equal(np.asarray(black), np.asarray(green))


def test_a_jpeg_with_transparency_is_recognised(portrait, model):
    file = io.BytesIO()
    Image.fromarray(portrait).save(file, "JPEG", quality=10)
    alpha = np.zeros(portrait.shape[:2], np.uint8)
    alpha[20:90, 10:110] = 255
    decoded = np.asarray(Image.open(file))
    for colour in (decoded, np.uint8(0)):
        cut = Image.fromarray(np.dstack([np.where(alpha[..., None] > 0, decoded, colour), alpha]))
        out = np.asarray(tasks.get("jpeg").restore(cut, nfe=1, model=model))
        errors = [np.square(p[..., :3].astype(float) - portrait)[alpha > 0].mean() for p in (decoded, out)]
        assert errors[1] < 0.9 * errors[0]


def test_hidden_colours_are_ignored_in_interpolation(picture, model):
    ends = [[hiding(picture, colour), hiding(picture[::-1], colour)] for colour in ((0, 0, 0), (0, 255, 0))]
    black, green = (tasks.get("interpolate").restore(pair, nfe=2, frames=3, model=model) for pair in ends)
    assert np.array_equal(np.asarray(black[1]), np.asarray(green[1]))


def test_hidden_colours_outside_the_hole_are_kept(picture, model):
    scratch = np.zeros_like(HOLE)
    scratch[5:22, 20:22] = True
    made = []
    for colour in ((0, 0, 0), (0, 255, 0)):
        image = hiding(picture, colour)
        out = tasks.get("inpaint").restore(image, mask=scratch, nfe=1, model=model)
        made.append(np.asarray(out))
        assert np.array_equal(made[-1][~scratch], np.asarray(image)[~scratch])
    assert np.array_equal(made[0][scratch], made[1][scratch])


def test_filling_hidden_pixels(picture, monkeypatch):
    alpha = alpha_of(HOLE)
    filled = fill_hidden(picture, alpha)
    assert np.array_equal(filled[alpha > 0], picture[alpha > 0])
    assert np.array_equal(filled, fill_hidden(np.where(HOLE[..., None], 0, picture).astype(np.uint8), alpha))
    assert np.abs(filled.astype(int) - picture)[HOLE].mean() < 30
    monkeypatch.setattr(spans, "BAND_PIXELS", 100)
    assert np.array_equal(filled, fill_hidden(picture, alpha))
    grey = picture[..., 0].astype(np.uint16) * 257
    assert np.array_equal(fill_hidden(grey, alpha.astype(np.uint16) * 257)[~HOLE], grey[~HOLE])


@given(arrays(bool, st.tuples(st.integers(1, 33), st.integers(1, 33))), st.booleans(), st.integers(1, 65535))
@settings(deadline=None, max_examples=60)
def test_a_single_visible_colour_fills_all(hidden, grey, level):
    hidden[0, 0] = False
    alpha = np.where(hidden, 0, 65535).astype(np.uint16)
    pixels = np.full(hidden.shape if grey else (*hidden.shape, 3), level, np.uint16)
    pixels[hidden] = 12345
    assert (fill_hidden(pixels, alpha) == level).all()


def test_pictures_without_hidden_pixels_are_returned_unchanged(picture):
    for alpha in (None, np.full(HOLE.shape, 1, np.uint8), np.zeros(HOLE.shape, np.uint8)):
        assert fill_hidden(picture, alpha) is picture
    assert fill_hidden(picture, alpha_of(HOLE), HOLE) is picture
    opaque = Image.fromarray(picture)
    assert without_hidden(opaque) is opaque
