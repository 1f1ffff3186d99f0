"""The marks of masks, however they were painted and saved."""

import io

import cv2
import numpy as np
import pytest
import skimage.data
from helpers.pictures import exif_with, needs_avif
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bcm_restore import images, masks
from bcm_restore.errors import RestoreError
from bcm_restore.images import Picture

PHOTO = skimage.data.astronaut()[::4, ::4].copy()  # (128, 128, 3)


def box(size=(128, 128)):
    hole = np.zeros(size, bool)
    hole[40:80, 50:90] = True
    return hole


def strokes(softness=0.0):
    """Paint from 0 to 1: lines of several widths, smoothed by antialiasing and by a soft brush."""
    large = np.zeros((512, 512), np.uint8)
    for ends, width in ((((40, 60), (450, 200)), 24), (((100, 460), (300, 260)), 9), (((400, 300), (430, 470)), 40)):
        cv2.line(large, *ends, 255, width)
    paint = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return cv2.GaussianBlur(paint, (0, 0), softness) if softness else paint


def painted(ground, colour, paint):
    """Paints a colour over another, or over a picture, (H, W, 3) uint8."""
    return np.rint(ground * (1 - paint[..., None]) + np.array(colour) * paint[..., None]).astype(np.uint8)


def compressed(pixels, format, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return np.asarray(Image.open(file))


def hole_of(pixels, alpha=None, **options):
    return masks.marked(pixels, alpha, **options).hole


# Black and white


@pytest.mark.parametrize("softness", [0, 1, 3])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_all_touched_pixels_are_marked(softness, depth):
    grey = np.rint(strokes(softness) * np.iinfo(depth).max).astype(depth)
    for pixels in (grey, np.dstack([grey] * 3)):
        found = masks.marked(pixels)
        assert np.array_equal(found.hole, grey > 0)
        assert found.found == ""
    white = np.iinfo(depth).max
    assert np.array_equal(hole_of(white - grey, invert=True), grey > 0)
    unpainted = hole_of(grey, invert=True)
    assert unpainted[grey < 0.8 * white].all()
    assert not unpainted[grey == grey.max()].any()


@given(arrays(bool, (16, 16)), st.sampled_from([1, 2, 255]), st.sampled_from([np.uint8, np.uint16]))
@settings(deadline=None, max_examples=40)
def test_masks_of_two_values(hole, value, depth):
    pixels = (hole * value).astype(depth)
    assert np.array_equal(hole_of(pixels), hole)
    assert np.array_equal(hole_of(pixels, invert=True), ~hole if hole.any() else np.ones_like(hole))


@pytest.mark.parametrize(("value", "depth"), [(1, np.uint8), (1, np.uint16), (100, np.uint8)])
def test_dark_masks_are_reported(value, depth):
    found = masks.marked((box() * value).astype(depth))
    assert np.array_equal(found.hole, box())
    assert found.found == f"largest value {value} of {np.iinfo(depth).max}"


def test_one_colour_marks_nothing_or_all():
    assert not hole_of(np.zeros((9, 7), np.uint8)).any()
    assert hole_of(np.full((9, 7), 255, np.uint8)).all()
    assert hole_of(np.full((9, 7, 3), 1, np.uint8)).all()
    assert not hole_of(np.zeros((9, 7, 3), np.uint8), np.zeros((9, 7), np.uint8)).any()


def test_threshold():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for value in (1, 100, 255):
        assert np.array_equal(hole_of(ramp, threshold=value), ramp >= value)
        assert np.array_equal(hole_of(np.dstack([ramp] * 3), threshold=value), ramp >= value)
        assert np.array_equal(hole_of(ramp, threshold=value, invert=True), ramp < value)
        assert np.array_equal(hole_of(np.full_like(ramp, 255), ramp, threshold=value), ramp >= value)
    deep = np.array([[0, 32767, 32768, 65535]], np.uint16)
    assert np.array_equal(hole_of(deep, threshold=128), [[False, False, True, True]])


# Compressed masks


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90, 95, 99])
def test_ringing_is_not_marked(quality):
    hard = (strokes() > 0.5).astype(np.uint8) * 255
    for sharp in (box().astype(np.uint8) * 255, hard):
        for pixels in (sharp, np.dstack([sharp] * 3)):
            hole = hole_of(compressed(pixels, "JPEG", quality=quality))
            if quality >= 50:
                assert np.array_equal(hole, sharp > 0)
            else:
                near = cv2.dilate(sharp, np.ones((3, 3), np.uint8)) > 0
                assert np.count_nonzero(hole & ~near) + np.count_nonzero((sharp > 0) & ~hole) < 0.02 * hole.sum()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", pytest.param("AVIF", marks=needs_avif)])
def test_rims_of_compressed_masks_are_marked(format):
    paint = strokes()
    hole = hole_of(compressed(np.dstack([np.rint(paint * 255).astype(np.uint8)] * 3), format, quality=80))
    assert hole[paint > 0.15].all()
    near = cv2.dilate((paint > 0).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert hole[~near].mean() < 0.02


def test_faint_dabs_beside_a_stroke_are_marked():
    pixels = box().astype(np.uint8) * 255
    pixels[30:33, 60:63] = 20
    pixels[85:87, 70:80] = 60
    assert np.array_equal(hole_of(pixels), pixels > 0)


# Colours


@pytest.mark.parametrize("colour", [(255, 0, 0), (128, 0, 0), (10, 40, 200), (255, 255, 0)])
@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), (90, 160, 90)])
def test_strokes_on_a_flat_colour(colour, ground):
    paint = strokes()
    pixels = painted(np.full((128, 128, 3), ground), colour, paint)
    touched = (pixels != np.array(ground)).any(2)
    found = masks.marked(pixels, photo=PHOTO)
    assert np.array_equal(found.hole, touched)
    assert "flat" in found.found
    assert np.array_equal(hole_of(pixels, invert=True), ~touched)


def test_dark_strokes_on_a_lighter_colour():
    for ground, stroke in (((200, 200, 200), (90, 90, 90)), ((90, 160, 90), (0, 0, 0)), ((128, 128, 128), (0, 0, 0))):
        pixels = painted(np.full((128, 128, 3), ground), stroke, strokes())
        assert np.array_equal(hole_of(pixels), (pixels != np.array(ground)).any(2))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
def test_strokes_on_transparent(colour):
    alpha = np.rint(strokes(2) * 255).astype(np.uint8)
    for pixels in (np.full((128, 128, 3), colour, np.uint8), np.full((128, 128), colour[0], np.uint8)):
        assert np.array_equal(hole_of(pixels, alpha, photo=PHOTO), alpha > 0)
        unpainted = hole_of(pixels, alpha, invert=True)
        assert unpainted[alpha < alpha.max() - 20].all()
        assert not unpainted[alpha == alpha.max()].any()


def test_strokes_of_many_colours_on_transparent():
    alpha = np.rint(strokes() * 255).astype(np.uint8)
    assert np.array_equal(hole_of(PHOTO[::-1], alpha, photo=PHOTO), alpha > 0)


def test_transparent_is_black_beside_black_and_white():
    grey = box().astype(np.uint8) * 255
    alpha = np.full((128, 128), 255, np.uint8)
    alpha[:20] = 0
    assert np.array_equal(hole_of(grey, alpha), box())
    assert np.array_equal(hole_of(np.dstack([grey] * 3), alpha), box())


# Copies of the picture


@pytest.mark.parametrize("colour", [(255, 0, 0), (255, 255, 255), (0, 0, 0), (40, 200, 90)])
@pytest.mark.parametrize(
    "photo", [PHOTO, skimage.data.page()[:128, :128], PHOTO[..., 0] // 4], ids=["rgb", "page", "dark"]
)
def test_strokes_on_a_copy(colour, photo):
    photo = np.ascontiguousarray(photo)
    copy = painted(photo if photo.ndim == 3 else np.dstack([photo] * 3), colour, strokes(1))
    touched = (copy != (photo if photo.ndim == 3 else photo[..., None])).any(2)
    found = masks.marked(copy, photo=photo)
    assert np.array_equal(found.hole, touched)
    assert "copy" in found.found


def test_strokes_on_a_copy_of_a_picture_with_transparency():
    alpha = np.where(box(), 0, 255).astype(np.uint8)
    copy = painted(PHOTO, (255, 0, 0), strokes())
    touched = (copy != PHOTO).any(2) & ~box()
    assert np.array_equal(hole_of(copy, alpha, photo=PHOTO), touched)


@pytest.mark.parametrize("quality", [60, 90])
def test_strokes_on_a_compressed_copy(quality):
    hole = hole_of(compressed(painted(PHOTO, (255, 0, 0), box().astype(float)), "JPEG", quality=quality), photo=PHOTO)
    assert hole[box()].mean() > 0.98
    near = cv2.dilate(box().astype(np.uint8), np.ones((33, 33), np.uint8)).astype(bool)
    assert hole[~near].mean() < 0.01


def writing(colour, photo):
    """Writing on a copy of a photo, and what it touches."""
    large = np.zeros((1024, 1024), np.uint8)
    for y in range(120, 1000, 180):
        cv2.putText(large, "Sample text", (40, y), cv2.FONT_HERSHEY_SIMPLEX, 4.5, 255, 16, cv2.LINE_AA)
    paint = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA) / 255
    return painted(photo, colour, paint), paint


@pytest.mark.parametrize("quality", [60, 75, 90, 95])
@pytest.mark.parametrize("colour", [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 0, 200)])
@pytest.mark.parametrize("name", ["photo", "jpeg"])
def test_bleeding_colour_is_not_a_stroke(quality, colour, name):
    """The writing is marked, and a rim of little more than a pixel; the gaps in letters are not."""
    photo = skimage.data.astronaut()[:256, 100:356].copy()
    if name == "jpeg":
        photo = compressed(photo, "JPEG", quality=80)
    copy, paint = writing(colour, photo)
    hole = hole_of(compressed(copy, "JPEG", quality=quality), photo=photo)
    assert hole[paint > 0.5].mean() > 0.99
    touched = np.count_nonzero(paint)
    assert np.count_nonzero(hole & (paint == 0)) < 0.2 * touched
    near = cv2.dilate((paint > 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert np.count_nonzero(hole & ~near) < 0.03 * touched


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (90, 160, 90)])
@pytest.mark.parametrize("colour", [(255, 0, 0), (255, 255, 0), (10, 40, 200)])
def test_bleeding_on_a_flat_colour_is_not_a_stroke(colour, ground):
    copy, paint = writing(colour, np.full((256, 256, 3), ground))
    hole = hole_of(compressed(copy, "JPEG", quality=80))
    assert hole[paint > 0.5].all()
    assert np.count_nonzero(hole & (paint == 0)) < 0.3 * np.count_nonzero(paint)


def test_gaps_in_the_colour_of_the_paint_are_filled():
    photo = skimage.data.astronaut()[:128, 100:228].copy()
    photo[60:63, 50:80] = 230, 20, 20
    marks = np.zeros((128, 128))
    marks[50:75, 40:90] = 1
    hole = hole_of(compressed(painted(photo, (230, 20, 20), marks), "JPEG", quality=90), photo=photo)
    assert hole[50:75, 40:90].mean() > 0.99


@pytest.mark.parametrize("name", ["page", "dark", "holes", "lines"])
def test_black_and_white_masks_are_not_copies(name):
    """Even if it shares much black or white with the picture."""
    hole = box()
    photo = {
        "page": skimage.data.page()[:128, :128],
        "dark": PHOTO // 8,
        "holes": np.where(hole, 255, PHOTO[..., 1] // 8).astype(np.uint8),
        "lines": np.where(strokes() > 0, 0, 255).astype(np.uint8),
    }[name]
    white = hole.astype(np.uint8) * 255
    assert np.array_equal(hole_of(white, photo=photo), hole)
    assert np.array_equal(hole_of(np.dstack([white] * 3), photo=photo), hole)
    assert np.array_equal(hole_of(np.full((128, 128, 3), 255, np.uint8), white, photo=photo), hole)


def test_the_picture_itself_is_refused():
    with pytest.raises(RestoreError, match="is the picture itself"):
        masks.marked(PHOTO, photo=PHOTO)
    alpha = np.where(box(), 0, 255).astype(np.uint8)
    with pytest.raises(RestoreError, match=r"parts erased.*--mask alpha"):
        masks.marked(PHOTO, alpha, photo=PHOTO)


@pytest.mark.parametrize("name", ["camera", "coffee", "chelsea", "rocket", "moon", "brick"])
def test_other_pictures_are_refused(name):
    other = getattr(skimage.data, name)()
    for pixels in (other, other[..., 1] if other.ndim == 3 else np.dstack([other] * 3)):
        with pytest.raises(RestoreError, match="a mask is white strokes on black"):
            masks.marked(np.ascontiguousarray(pixels))
    alpha = np.where(box(other.shape[:2]), 0, 255).astype(np.uint8)
    with pytest.raises(RestoreError, match="most of it shows a picture"):
        masks.marked(other, alpha)


# Transparency and sizes


def test_soft_erasers():
    alpha = 255 - np.rint(strokes(2) * 255).astype(np.uint8)
    assert np.array_equal(masks.erased(alpha).hole, alpha < 255)
    assert np.array_equal(masks.erased(alpha, invert=True).hole, alpha == 255)
    assert np.array_equal(masks.erased(alpha, threshold=128).hole, alpha < 128)
    assert masks.erased(np.zeros_like(alpha)).hole.all()
    assert not masks.erased(np.full_like(alpha, 255)).hole.any()


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.integers(1, 20), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_fitted_masks_keep_all_marks(hole, height, width):
    out = masks.fitted(hole, (height, width))
    expected = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            top, bottom = y * hole.shape[0] / height, (y + 1) * hole.shape[0] / height
            left, right = x * hole.shape[1] / width, (x + 1) * hole.shape[1] / width
            part = hole[int(top) : int(np.ceil(bottom - 1e-9)), int(left) : int(np.ceil(right - 1e-9))]
            expected[y, x] = part.any()
    assert np.array_equal(out, expected)


# Files


def test_files_of_masks(tmp_path):
    ramp = np.zeros((16, 16), np.uint8)
    ramp[4:8] = np.arange(16) * 17
    images.write(Picture(ramp), tmp_path / "a.png")
    assert np.array_equal(masks.read(tmp_path / "a.png").hole, ramp > 0)
    values = np.zeros((4, 6), np.uint8)
    values[0] = 255
    Image.fromarray(values).save(tmp_path / "b.png", exif=exif_with(6))
    expected = np.zeros((6, 4), bool)
    expected[:, -1] = True
    assert np.array_equal(masks.read(tmp_path / "b.png").hole, expected)
    Image.fromarray(PHOTO).save(tmp_path / "c.png")
    with pytest.raises(RestoreError, match=r"c\.png: cannot find its marks"):
        masks.read(tmp_path / "c.png")
    with pytest.raises(RestoreError, match=r"d\.png: no such file"):
        masks.read(tmp_path / "d.png")
