"""JPEGs that were saved twice: finding the first compression."""

import pytest
import torch
from helpers.jpegs import compressed, guess, picture, psnr, reread, to_tensor
from PIL import Image

from bcm_restore.operators import Jpeg, standard_tables
from bcm_restore.operators.jpeg_earlier import find_earlier, find_first, operator_of

SIZE = (192, 208)


def twice(folder, first, second, corner=(0, 0), kind="4:4:4"):
    """Coefficients and pixels of a file saved at two qualities, cropped in between, and the original's pixels."""
    original = picture(*SIZE)
    once = reread(original, first, "4:2:0")
    pixels = Image.fromarray(((once[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
    box = (corner[1], corner[0], SIZE[1], SIZE[0])
    coefficients, decoded = compressed(pixels.crop(box), folder, second, kind)
    return coefficients, decoded, to_tensor(original.crop(box))


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize(("first", "second"), [(10, 90), (15, 95), (30, 75), (60, 75), (75, 90), (15, 50)])
def test_same_block_grid(first, second, kind, tmp_path):
    coefficients, decoded, original = twice(tmp_path, first, second, kind=kind)
    history = find_earlier(coefficients, decoded)
    assert abs(history.quality - first) <= 1 and history.corner == (0, 0) and history.later == second
    assert str(history) == f"was quality {history.quality} before it was {second}"
    operator, last = operator_of(history, decoded, coefficients), Jpeg(coefficients)
    nearest, pinned = (psnr(one.fit(original, one.y), original) for one in (operator, last))
    assert nearest > 44 and nearest > pinned + 3  # the original is in the first set, and not in the second
    rough = guess(original, strength=0.3)
    assert psnr(operator.fit(rough, operator.y), original) > psnr(rough, original)


@pytest.mark.parametrize(("first", "second"), [(10, 90), (15, 95), (30, 75), (75, 90)])
def test_other_block_grid(first, second, tmp_path):
    coefficients, decoded, original = twice(tmp_path, first, second, corner=(3, 5))
    history = find_earlier(coefficients, decoded)
    assert abs(history.quality - first) <= 1
    assert (history.corner[0] % 8, history.corner[1] % 8) == (5, 3)
    operator, last = operator_of(history, decoded, coefficients), Jpeg(coefficients)
    nearest, pinned = (psnr(one.fit(original, one.y), original) for one in (operator, last))
    assert nearest > 44 and nearest > pinned + 5


@pytest.mark.parametrize("quality", [5, 10, 25, 50, 75, 85, 90, 95, 100])
@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0", "grey"])
def test_files_saved_once_have_no_earlier_compression(quality, kind, tmp_path):
    coefficients, decoded = compressed(picture(*SIZE, kind), tmp_path, quality, kind)
    assert find_earlier(coefficients, decoded) is None


@pytest.mark.parametrize(("first", "second"), [(95, 15), (90, 75), (50, 50)])
def test_finer_earlier_compressions_are_ignored(first, second, tmp_path):
    coefficients, decoded, _ = twice(tmp_path, first, second)
    assert find_earlier(coefficients, decoded) is None


def test_drawings(tmp_path):
    image = Image.new("RGB", (160, 160), "white")
    for n in range(0, 160, 20):
        image.paste((200, 30 + n, 40), (n, n // 2, n + 10, n + 15))
    for quality in (30, 75, 90):
        coefficients, decoded = compressed(image, tmp_path, quality)
        assert find_earlier(coefficients, decoded) is None


def test_given_quality(tmp_path):
    coefficients, decoded = compressed(picture(*SIZE), tmp_path, 90)
    history = find_earlier(coefficients, decoded, 20)
    assert history.quality == 20 and history.corner == (0, 0)
    operator = operator_of(history, decoded, coefficients)
    assert torch.equal(operator.components[0].table, standard_tables(20)[0].float())
    assert find_earlier(coefficients, decoded, 90) is None  # the file's own quality
    coefficients, decoded, _ = twice(tmp_path, 20, 90, corner=(2, 1))
    history = find_earlier(coefficients, decoded, 20)
    assert (history.corner[0] % 8, history.corner[1] % 8) == (6, 7)


def test_from_pixels_alone(tmp_path):
    _, decoded, _ = twice(tmp_path, 15, 90, corner=(3, 5))
    history = find_first(decoded)
    assert history.quality == 15 and history.later == 90
    assert find_first(reread(picture(*SIZE), 50)).later is None


def test_grey(tmp_path):
    once = reread(picture(*SIZE, "grey"), 15, "grey")
    grey = Image.fromarray(((once[0, 0] + 1) * 127.5).round().byte().numpy())
    coefficients, decoded = compressed(grey, tmp_path, 90, "grey")
    history = find_earlier(coefficients, decoded)
    assert history.quality == 15
    fitted = operator_of(history, decoded, coefficients).fit(
        guess(decoded), operator_of(history, decoded, coefficients).y
    )
    assert torch.equal(fitted[:, 0], fitted[:, 2])
