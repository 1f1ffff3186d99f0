"""The picture that is painted on: strokes at the size shown mark pixels at full size."""

import threading

import numpy as np
import pytest
from PIL import Image

from bcm_restore import images
from bcm_restore.errors import RestoreError
from bcm_restore.web import inpainting
from bcm_restore.web.inpainting import COLOUR, LOADED, Canvas
from bcm_restore.web.work import Cancelled, Reporter


@pytest.fixture
def canvas(tmp_path, save, face, monkeypatch):
    """A picture of 48 x 40 pixels, shown with 24 x 20."""
    monkeypatch.setattr(inpainting, "SIDE", 24)
    (tmp_path / "results").mkdir()
    return Canvas(save("photo.png", face), tmp_path / "results", 10**6)


def layer(*places, size=(24, 20)):
    painted = np.zeros((*size, 4), np.uint8)
    for rows, columns in places:
        painted[rows, columns] = (*COLOUR, 3)  # however faint
    return painted


def reporter():
    return Reporter(lambda share, text: None, threading.Event(), [48 * 40])


def test_the_picture_is_shown_scaled(canvas):
    assert Image.open(canvas.preview()).size == (20, 24)
    assert canvas.size == (48, 40)


def test_strokes_mark_every_pixel_that_they_touch(canvas):
    hole = canvas.hole([layer((slice(3, 5), slice(7, 8)))])
    expected = np.zeros((48, 40), bool)
    expected[6:10, 14:16] = True
    assert np.array_equal(hole, expected)


@pytest.mark.parametrize("layers", [[], [layer()]])
def test_nothing_painted(canvas, layers):
    with pytest.raises(RestoreError, match="nothing is painted"):
        canvas.hole(layers)


def shown(canvas, *layers):
    """The layer that the editor gets."""
    [path] = canvas.strokes(layers)
    return np.asarray(Image.open(path))


@pytest.fixture
def marked(canvas, save):
    """The canvas with a loaded mask, and the mask."""
    mask = np.zeros((48, 40), np.uint8)
    mask[11, 20:31] = mask[41, 4] = 255
    assert canvas.strokes() == []
    canvas.load_mask(save("mask.png", mask), fit=False)
    return canvas, mask > 0


def test_a_loaded_mask_keeps_its_own_pixels(marked):
    canvas, mask = marked
    strokes = shown(canvas)
    expected = np.zeros((24, 20), bool)
    expected[5, 10:16] = expected[20, 2] = True
    assert np.array_equal(strokes[..., 3] > 0, expected)
    assert (strokes[expected] == (*LOADED, 255)).all()
    assert np.array_equal(canvas.hole([strokes]), mask)
    more = canvas.hole([strokes, layer((slice(0, 1), slice(0, 1)))])
    assert more[:2, :2].all()
    assert np.array_equal(more[2:], mask[2:])


def test_a_loaded_mask_is_partly_erased(marked):
    canvas, mask = marked
    strokes = shown(canvas).copy()
    strokes[5, 12:14] = 0
    mask[11, 24:28] = False
    assert np.array_equal(canvas.hole([strokes]), mask)
    strokes[...] = 0
    with pytest.raises(RestoreError, match="nothing is painted"):
        canvas.hole([strokes])


def test_a_further_mask_and_strokes_before_it(marked, save):
    canvas, mask = marked
    strokes = shown(canvas).copy()
    strokes[20, 2] = 0  # erased
    strokes[15:17, 3] = (*COLOUR, 255)
    second = np.zeros((48, 40), np.uint8)
    second[2, 2:5] = 255
    canvas.load_mask(save("second.png", second), fit=False, layers=[strokes])
    expected = mask | (second > 0)
    expected[41, 4] = False
    expected[30:34, 6:8] = True
    assert np.array_equal(canvas.hole([shown(canvas, strokes)]), expected)


def test_undoing_a_loaded_mask(marked):
    canvas, _ = marked
    assert canvas.undoable
    canvas.undo()
    assert canvas.strokes() == [] and not canvas.undoable


def test_a_mask_of_another_size(canvas, save):
    mask = save("mask.png", np.full((10, 10), 0, np.uint8))
    with pytest.raises(RestoreError, match=r"mask.png: the mask is 10x10 and .*photo.png is 40x48; --fit-mask"):
        canvas.load_mask(mask, fit=False)
    canvas.load_mask(mask, fit=True)
    assert not canvas.loaded.any()


def test_only_the_hole_changes_and_painting_goes_on(canvas, face, model):
    hole = canvas.hole([layer((slice(8, 12), slice(5, 9)))])
    canvas.restore(hole, reporter(), nfe=1)
    first = np.asarray(Image.open(canvas.download()))
    assert canvas.download().name == "photo_inpainted.png"
    assert np.array_equal(first[~hole], face[~hole])
    assert (first[hole] != face[hole]).any()
    other = canvas.hole([layer((slice(20, 22), slice(15, 17)))])
    canvas.restore(other, reporter(), nfe=1)
    second = np.asarray(Image.open(canvas.download()))
    assert np.array_equal(second[~other], first[~other])
    assert (second[other] != first[other]).any()
    canvas.undo()
    assert np.array_equal(np.asarray(Image.open(canvas.download())), first)
    canvas.undo()
    assert not canvas.undoable
    assert canvas.steps == [canvas.source]


def test_results_have_the_format_and_the_metadata_of_the_input(tmp_path, save, face):
    exif = Image.Exif()
    exif[0x010E] = "a face"
    canvas = Canvas(save("photo.jpg", face, quality=95, exif=exif), tmp_path, 10**6)
    hole = np.zeros((48, 40), bool)
    hole[20:24, 20:24] = True
    canvas.restore(hole, reporter(), nfe=1)
    found = Image.open(canvas.download())
    assert (canvas.download().name, found.format) == ("photo_inpainted.jpg", "JPEG")
    assert found.getexif()[0x010E] == "a face"


def test_sixteen_bits_stay_sixteen(tmp_path, save, face):
    deep = face[..., 0].astype(np.uint16) * 200 + 7
    canvas = Canvas(save("photo.png", Image.fromarray(deep)), tmp_path, 10**6)
    assert Image.open(canvas.preview()).mode == "L"
    hole = np.zeros((48, 40), bool)
    hole[20:24, 20:24] = True
    canvas.restore(hole, reporter(), nfe=1)
    found = images.read(canvas.download()).pixels
    assert found.dtype == np.uint16
    assert np.array_equal(found[~hole], deep[~hole])


def test_a_mask_of_everything_is_refused(canvas):
    with pytest.raises(RestoreError, match="marks the whole picture"):
        canvas.restore(np.ones((48, 40), bool), reporter(), nfe=1)
    assert canvas.steps == [canvas.source]


def test_too_large_and_broken_files(tmp_path, save, face):
    photo = save("photo.png", face)
    with pytest.raises(RestoreError, match=r"photo\.png: .*--max-pixels"):
        Canvas(photo, tmp_path, 100).preview()
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RestoreError, match=r"text\.png: not a readable picture"):
        Canvas(tmp_path / "text.png", tmp_path, 10**6).preview()


def test_cancelling_keeps_the_picture(canvas):
    stopped = reporter()
    stopped._stop.set()
    hole = canvas.hole([layer((slice(8, 12), slice(5, 9)))])
    with pytest.raises(Cancelled):
        canvas.restore(hole, stopped, nfe=1)
    assert canvas.steps == [canvas.source]
    canvas.restore(hole, reporter(), nfe=1)  # the lock is free again


def test_progress_in_megapixels():
    seen = []
    shown = Reporter(lambda share, text: seen.append((share, text)), threading.Event(), [3_000_000, 1_000_000])
    shown.progress("tile", 1, 2)
    shown.done(None, None)
    shown.progress("NFE", 1, 1)
    assert seen == [
        (0.375, "1.5 of 4.0 megapixels"),
        (0.75, "3.0 of 4.0 megapixels"),
        (1.0, "4.0 of 4.0 megapixels"),
    ]
