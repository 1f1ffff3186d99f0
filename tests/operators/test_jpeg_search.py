"""Finding the JPEG compression of pixels that were cropped, rotated, framed or reduced to a palette."""

import io

import numpy as np
import pytest
import torch
from helpers.jpegs import guess, picture, psnr, reread, to_tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from bcm_restore.operators import Jpeg, estimate_quality
from bcm_restore.operators.jpeg_earlier import operator_of
from bcm_restore.operators.jpeg_part import JpegPart
from bcm_restore.operators.jpeg_search import find_history

SIZE = (200, 208)


def pixels(x):
    """Converts (1, 3, H, W) to a PIL image."""
    return Image.fromarray(((x[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(top=st.integers(0, 20), left=st.integers(0, 20), quality=st.sampled_from([10, 50, 80]))
def test_crops_at_any_offset(top, left, quality):
    x = reread(picture(*SIZE), quality, "4:2:0")[..., top:, left:]
    history = find_history(x)
    assert history is not None and abs(history.quality - quality) <= 1
    assert (history.corner[0] + top) % 8 == (history.corner[1] + left) % 8 == 0
    if history.factor == (2, 2):
        assert (history.corner[0] + top) % 16 == (history.corner[1] + left) % 16 == 0


@pytest.mark.parametrize("transpose", list(Image.Transpose))
@pytest.mark.parametrize("quality", [15, 75])
def test_rotations_and_flips(transpose, quality):
    rotated = to_tensor(pixels(reread(picture(*SIZE), quality)).transpose(transpose))
    assert estimate_quality(rotated) == quality


def test_borders():
    x = reread(picture(*SIZE), 15)
    framed = torch.nn.functional.pad(x, (12, 9, 10, 3), value=1.0)
    history = find_history(framed)
    assert history.quality == 15 and history.corner == (2, 4)
    assert str(history) == "was quality 15 (blocks from row 2 and column 4)"


def test_palettes():
    reduced = to_tensor(pixels(reread(picture(*SIZE), 15)).quantize(256))
    assert find_history(reduced).quality == 15


def test_palettes_that_suit_the_picture_less():
    """Their noise is larger than that of 256 colours."""
    for name, colours in (("coffee", 64), ("rocket", 64)):
        original = Image.fromarray(getattr(data, name)()).crop((64, 64, 256, 256))
        file = io.BytesIO()
        original.save(file, "JPEG", quality=15)
        found = find_history(to_tensor(Image.open(file).convert("RGB").quantize(colours)))
        assert found is not None and (found.quality, found.corner) == (15, (0, 0)), name
        assert find_history(to_tensor(original.quantize(colours))) is None, name


def test_other_programs_tables():
    table = [[min(255, 6 + 4 * (i // 4)) for i in range(64)], [min(255, 9 + 7 * (i // 4)) for i in range(64)]]
    file = io.BytesIO()
    picture(*SIZE).save(file, "JPEG", qtables=table, subsampling=0)
    history = find_history(to_tensor(Image.open(file)))
    assert history.quality is None and "custom tables" in str(history)
    own = np.array(table[0]).reshape(8, 8)
    assert (history.tables[0].numpy() == own)[:4, :4].mean() > 0.9


@pytest.mark.slow
def test_clean_pictures_have_no_history():
    for name in ("astronaut", "camera", "coffee", "moon", "text"):
        image = getattr(data, name)()[:256, :256]
        assert find_history(to_tensor(Image.fromarray(image))) is None, name
    half = pixels(reread(picture(256, 256), 50)).resize((150, 150), Image.Resampling.LANCZOS)
    assert find_history(to_tensor(half)) is None
    for size in ((1, 1), (7, 30), (15, 15)):
        assert find_history(torch.zeros(1, 3, *size)) is None


def test_given_quality():
    clean = to_tensor(picture(64, 64))
    history = find_history(clean, 30)
    assert history.quality == 30 and history.corner == (0, 0)
    moved = reread(picture(*SIZE), 30)[..., 3:, 5:]
    assert find_history(moved, 30).corner == (5, 3)


def test_operator_of_a_shifted_grid():
    original = to_tensor(picture(*SIZE))[..., 3:, 5:]
    decoded = reread(picture(*SIZE), 30)[..., 3:, 5:]
    operator = operator_of(find_history(decoded), decoded)
    assert isinstance(operator, JpegPart)
    rough = guess(original, strength=0.3)
    fitted = operator.fit(rough, operator.y)
    assert all(map(torch.equal, operator.A(fitted), operator.y))
    assert psnr(fitted, original) > psnr(rough, original) + 0.5
    assert torch.equal(fitted[..., :5, :], rough[..., :5, :]) and torch.equal(fitted[..., :3], rough[..., :3])
    assert psnr(operator.fit(original, operator.y), original) > 55  # the original is in the set, or close to it
    decoder = operator.pinv(operator.y)
    assert decoder.shape == decoded.shape
    assert psnr(decoder[..., 8:-8, 8:-8], decoded[..., 8:-8, 8:-8]) > 35
    aligned = Jpeg.from_pixels(decoded, 30)
    assert psnr(aligned.fit(original, aligned.y), original) < 50  # the wrong block grid
