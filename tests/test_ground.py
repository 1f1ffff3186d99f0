"""Black strokes on white, against masks of the convention that white is filled."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from bcm_restore import masks
from bcm_restore.errors import RestoreWarning
from bcm_restore.simulation.masks import MASKS, freeform


def marked(pixels, **options):
    return masks.marked(pixels, **options).hole


def compressed(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def words(size=(256, 256)):
    """Thin writing, and a line."""
    marks = np.zeros(size, np.uint8)
    for y in range(40, size[0] - 20, 60):
        cv2.putText(marks, "Sample text", (20, y), cv2.FONT_HERSHEY_SIMPLEX, 1, 1, 2)
    cv2.line(marks, (20, 230), (230, 210), 1, 7)
    return marks > 0


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_black_strokes_on_white_are_strokes(depth):
    white = np.iinfo(depth).max
    for paint in (words(), cv2.GaussianBlur(words().astype(np.float32), (0, 0), 1)):
        pixels = np.rint((1 - paint) * white).astype(depth)
        for one in (pixels, np.dstack([pixels] * 3)):
            found = masks.marked(one)
            assert np.array_equal(found.hole, pixels < white)
            assert "black strokes on white" in found.found and "--mask-threshold 128" in found.found
            assert found.inverted
        assert np.array_equal(marked(pixels, threshold=128), pixels >= (white + 1) // 2)  # as the remark suggests
        assert np.array_equal(marked(pixels, invert=True), pixels < white)  # the convention for black strokes


@pytest.mark.parametrize("quality", [30, 60, 80, 95])
@pytest.mark.parametrize("dark", [0, 20, 60])
def test_compressed_dark_strokes_on_white_are_strokes(quality, dark):
    grey = np.where(words(), dark, 255).astype(np.uint8)
    hole = marked(compressed(np.dstack([grey] * 3), quality))
    assert hole[words()].mean() > 0.98
    assert np.count_nonzero(hole & ~words()) < 0.1 * np.count_nonzero(words())


def kept(name, rng, size):
    """The known pixels of masks with white on black, or little black on white."""
    if name in MASKS:
        return ~MASKS[name](rng, size)
    known = np.zeros(size, bool)
    rows, columns = np.indices(size)
    if name.startswith("random"):
        known = rng.random(size) < 0.01 * float(name[6:])
    elif name.startswith("freeform"):
        low = 0.01 * float(name[8:])
        known = ~freeform(low, low + 0.1)(rng, size)
    elif name.startswith("patches"):
        side = int(name[7:])
        known = np.kron(rng.random((size[0] // side, size[1] // side)) < 0.2, np.ones((side, side))) > 0
    elif name.startswith("blobs"):
        smooth = cv2.GaussianBlur(rng.standard_normal(size), (0, 0), int(name[5:]))
        known = smooth > np.quantile(smooth, 0.9)
    elif name.startswith("grid"):
        known = (rows % int(name[4:]) == 1) & (columns % int(name[4:]) == 1)
    elif name.startswith("rows"):
        known = rows % int(name[4:]) == 1
    elif name.startswith("mesh"):
        known = (rows % int(name[4:]) == 3) | (columns % int(name[4:]) == 3)
    elif name == "middle":
        known = (abs(rows - size[0] / 2) < size[0] / 8) & (abs(columns - size[1] / 2) < size[1] / 8)
    elif name == "disc":
        known = (rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2 < (min(size) / 6) ** 2
    elif name == "spokes":
        centre = np.array(size)[::-1] / 2
        spokes = known.astype(np.uint8)
        for angle in rng.random(12) * np.pi:
            away = 999 * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(spokes, *(tuple((centre + one).astype(int).tolist()) for one in (-away, away)), 1)
        known = spokes > 0
    return known


KNOWN = [*MASKS, "random1", "random5", "random10", "random25", "random40", "freeform60", "freeform75", "freeform85"]
KNOWN += [
    "patches8",
    "patches16",
    "blobs2",
    "blobs4",
    "blobs16",
    "grid2",
    "grid4",
    "grid16",
    "rows2",
    "rows4",
    "rows16",
]
KNOWN += ["mesh8", "mesh32", "middle", "disc", "spokes"]


@pytest.mark.parametrize("name", KNOWN)
def test_white_is_filled_in_masks_of_the_convention(name):
    """With a remark if it is most of the picture."""
    for seed, size in enumerate([(256, 256), (384, 512), (128, 128), (64, 96)] * 3):
        known = kept(name, np.random.default_rng(seed), size)
        found = masks.marked(np.where(known, 0, 255).astype(np.uint8))
        assert np.array_equal(found.hole, ~known)
        remark = f"white, {np.mean(~known):.0%} of the picture (--invert-mask fills the black)"
        assert found.found == (remark if np.mean(~known) > 0.5 else "")


@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize("name", [name for name in KNOWN if not name.startswith(("random", "rows2", "grid2"))])
def test_white_is_filled_in_compressed_masks_of_the_convention(name, quality):
    for seed in range(4):
        known = kept(name, np.random.default_rng(seed), (256, 256))
        found = masks.marked(compressed(np.where(known, 0, 255).astype(np.uint8), quality))
        assert not found.inverted
        assert found.hole[~known].mean() > 0.9


def test_black_that_has_no_shape_of_strokes_is_kept():
    """Few pixels, broad strokes, much of it, at the border."""
    for name, known in {
        "small": words()[100:131, 100:131],
        "much": cv2.dilate(words().astype(np.uint8), np.ones((9, 9), np.uint8)) > 0,
        "border": words() | (np.indices((256, 256))[1] < 6),
        "specks": np.random.default_rng(0).random((128, 128)) < 0.1,
    }.items():
        assert np.array_equal(marked(np.where(known, 0, 255).astype(np.uint8)), ~known), name


def test_black_strokes_give_a_warning_in_python(tmp_path):
    Image.fromarray(np.where(words(), 0, 255).astype(np.uint8)).save(tmp_path / "mask.png")
    with pytest.warns(RestoreWarning, match=r"mask\.png: black strokes on white, taken as marked; .*mask > 127"):
        assert np.array_equal(masks.read(tmp_path / "mask.png").hole, words())
