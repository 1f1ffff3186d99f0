"""PIL images that know their file, and paths in place of pictures: the same as the file by the command."""

import io

import numpy as np
import pytest
from PIL import Image

import bcm_restore
from bcm_restore import images, tasks
from bcm_restore.errors import RestoreError

TABLES = [[9 + 3 * n for n in range(64)], [20] * 64]  # of no quality


@pytest.fixture
def old(save, face):
    """A JPEG whose tables cannot be guessed from its pixels."""
    return save("old.jpg", face, qtables=TABLES, dpi=(72, 72))


def by_command(task, path, **options):
    out = path.with_name("out.png")
    bcm_restore.restore_file(task, path, out, nfe=1, overwrite=True, **options)
    return images.read(out)


@pytest.mark.parametrize(("task", "options"), [("jpeg", {}), ("super-resolve", {"scale": 2})])
def test_an_image_that_knows_its_file(old, task, options):
    restore = tasks.get(task).restore
    wanted = by_command(task, old, **options).pixels
    image = Image.open(old)
    first = restore(image, nfe=1, **options)
    assert (np.asarray(first) == wanted).all() and first.info["dpi"] == image.info["dpi"]
    assert (np.asarray(restore(image, nfe=1, **options)) == wanted).all()
    file = io.BytesIO(old.read_bytes())
    held = Image.open(file)
    for _ in range(2):  # although Pillow has dropped the file
        assert (np.asarray(restore(held, nfe=1, **options)) == wanted).all()
    assert (np.asarray(restore(Image.open(old).copy(), nfe=1, **options)) != wanted).any()


def test_images_whose_file_is_not_theirs_any_more(old, face, save):
    assert images.file_coefficients(Image.open(old)) is not None
    changed = Image.open(old)
    changed.putpixel((3, 3), (0, 0, 0))
    assert images.file_coefficients(changed) is None
    drafted = Image.open(old)
    drafted.draft("RGB", (10, 10))
    assert images.file_coefficients(drafted) is None
    assert images.file_coefficients(Image.open(old).crop((0, 0, 16, 16))) is None
    assert images.file_coefficients(Image.open(save("a.png", face))) is None
    assert images.file_coefficients(Image.open(save("c.jpg", Image.fromarray(face).convert("CMYK")))) is None
    opened = Image.open(old)
    opened.load()
    assert images.file_coefficients(opened) is not None
    old.write_bytes(b"no picture")
    assert images.file_coefficients(opened) is None
    save("old.jpg", np.zeros((4000, 4000), np.uint8))
    assert images.file_coefficients(opened) is None
    old.unlink()
    assert images.file_coefficients(opened) is None
    assert tasks.get("super-resolve").restore(opened, scale=2, nfe=1).size == (80, 96)


def test_grey_and_large_images_know_their_file_too(save, face):
    path = save("grey.jpg", face[..., 0], qtables=TABLES[:1])
    restored = tasks.get("jpeg").restore(Image.open(path), nfe=1)
    assert restored.mode == "L" and (np.asarray(restored) == by_command("jpeg", path).pixels).all()


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("task", "options"), [("jpeg", {}), ("super-resolve", {"scale": 2})])
def test_the_path_of_a_jpeg(save, face, task, options, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "holiday"
    path = save("old.jpg", face, qtables=TABLES, dpi=(72, 100), exif=exif, icc_profile=b"profile")
    wanted = by_command(task, path, **options)
    for given in (path, str(path)):
        found = tasks.get(task).restore(given, nfe=1, **options)
        assert (np.asarray(found) == wanted.pixels).all()
    assert (found.getexif()[0x010E], found.getexif().get(0x0112, 1)) == ("holiday", 1)
    assert found.info["dpi"] == ((72, 100) if orientation == 1 else (100, 72))
    assert found.info["icc_profile"] == b"profile"


def test_paths_of_other_pictures(save, face, hole):
    marks = save("marks.png", hole)
    clear = save("clear.png", np.dstack([face, 255 - hole // 2]))
    found = tasks.get("inpaint").restore(clear, mask=marks, nfe=1)
    wanted = by_command("inpaint", clear, mask=marks)
    assert not found.info
    assert found.mode == "RGBA" and (np.asarray(found) == np.dstack([wanted.pixels, wanted.alpha])).all()
    deep = save("deep.png", Image.fromarray(face[..., 0].astype(np.uint16) * 211))
    found = tasks.get("super-resolve").restore(deep, scale=2, noise=0, nfe=1)
    assert (
        found.mode == "I;16" and (np.asarray(found) == by_command("super-resolve", deep, scale=2, noise=0).pixels).all()
    )
    one, two = tasks.get("super-resolve").restore([clear, Image.open(deep)], scale=2, noise=0, nfe=1)
    assert (one.mode, two.mode) == ("RGBA", "I;16")


def test_the_two_paths_of_an_interpolation(save, face):
    ends = [save("a.png", face), save("b.png", face[::-1])]
    frames = tasks.get("interpolate").restore(ends, frames=3, nfe=1)
    assert (np.asarray(frames[0]) == face).all() and (np.asarray(frames[2]) == face[::-1]).all()


def test_files_that_are_no_pictures(tmp_path, old):
    with pytest.raises(RestoreError, match=r"none.jpg: no such file"):
        tasks.get("jpeg").restore(tmp_path / "none.jpg")
    with pytest.raises(RestoreError, match="is a folder"):
        tasks.get("inpaint").restore(str(tmp_path), mask=old)


def test_the_kernel_is_that_of_the_upright_picture(save, face):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save("turned.jpg", face, exif=exif, quality=95)
    restored = tasks.get("deblur").restore(path, kernel="motion:9:0", nfe=1)
    np.testing.assert_array_equal(restored, by_command("deblur", path, kernel="motion:9:0").pixels)
