"""Bad files and full disks: one-line errors, no output, no partial files."""

import errno
import os
import stat
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, TiffImagePlugin, features

from bcm_restore import files, images
from bcm_restore.errors import RestoreError
from bcm_restore.images import Picture

PHOTO = skimage.data.astronaut()[:48, :64]
PICTURE = Picture(PHOTO)


@pytest.fixture(autouse=True)
def silence(capfd):
    """Fails tests that print or warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert capfd.readouterr() == ("", "")


def assert_one_line(path, function, *args, **kwargs):
    with pytest.raises(RestoreError) as caught:
        function(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and Path(path).name in message
    return message


# Reading


def test_missing_empty_and_invalid_files(tmp_path):
    assert "no such file" in assert_one_line("a.png", images.read, tmp_path / "a.png")
    assert "folder" in assert_one_line(tmp_path, images.read, tmp_path)
    (tmp_path / "a.png").touch()
    assert "empty" in assert_one_line("a.png", images.read, tmp_path / "a.png")
    (tmp_path / "a.png").write_text("Dear diary,\n" * 100)
    assert "not a readable picture" in assert_one_line("a.png", images.read, tmp_path / "a.png")
    assert "no such file" in assert_one_line("b.png", images.read, tmp_path / "a.png" / "b.png")
    if os.name == "posix":
        assert "ordinary" in assert_one_line("null", images.read, "/dev/null")


def tiff(bits, channels, sample, compression=1):
    """An 8x8 TIFF of zeros."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    pixels = bytes(8 * 8 * channels * bits // 8)
    directory.update(
        {
            TiffImagePlugin.IMAGEWIDTH: 8,
            TiffImagePlugin.IMAGELENGTH: 8,
            TiffImagePlugin.BITSPERSAMPLE: (bits,) * channels,
            TiffImagePlugin.COMPRESSION: compression,
            TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 2 if channels > 2 else 1,
            TiffImagePlugin.STRIPOFFSETS: 0,  # counted from the end of the directory
            TiffImagePlugin.SAMPLESPERPIXEL: channels,
            TiffImagePlugin.ROWSPERSTRIP: 8,
            TiffImagePlugin.STRIPBYTECOUNTS: len(pixels),
            TiffImagePlugin.SAMPLEFORMAT: (sample,) * channels,
        }
    )
    file = BytesIO()
    directory.save(file)
    return file.getvalue() + pixels


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ((32, 3, 3), "3 x 32-bit floats"),
        ((16, 1, 3), "1 x 16-bit floats"),
        ((64, 1, 3), "1 x 64-bit floats"),
        ((32, 3, 1), "3 x 32-bit integers"),
        ((16, 3, 2), "3 x 16-bit signed integers"),
        ((8, 3, 1, 34712), "3 x 8-bit integers, compression 34712"),
    ],
)
def test_tiffs_of_kinds_that_are_not_read_are_not_called_damaged(tmp_path, layout, kind):
    path, whole = tmp_path / "a.tif", tiff(*layout)
    path.write_bytes(whole)
    assert f"a.tif: a TIFF of a kind that is not read ({kind}); save it as" in assert_one_line(path, images.read, path)
    for data in (whole[:-1], whole[:100]):
        path.write_bytes(data)
        message = assert_one_line(path, images.read, path)
        assert "of a kind" not in message and ("cut off" in message or "truncated" in message)


def test_file_without_read_permission(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    images.write(PICTURE, tmp_path / "a.png")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "not allowed" in assert_one_line("a.png", images.read, tmp_path / "a.png")


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rest = b"IDAT" + zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, rest, b"IEND")
    )


def test_decompression_bombs(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(100_000, 100_000))
    assert "100000 x 100000" in assert_one_line("a.png", images.read, path)
    path.write_bytes(png_header(0, 10))
    assert_one_line("a.png", images.read, path)
    images.write(PICTURE, path)
    assert "limit of 0.003071 megapixels" in assert_one_line("a.png", images.read, path, max_pixels=48 * 64 - 1)
    assert images.read(path, max_pixels=48 * 64).size == (48, 64)
    images.write(PICTURE, tmp_path / "a.jpg")
    assert "limit" in assert_one_line("a.jpg", images.jpeg_coefficients, tmp_path / "a.jpg", max_pixels=10)


def test_pictures_beyond_pillows_own_limit_are_read_without_a_warning(tmp_path, monkeypatch):
    images.write(PICTURE, tmp_path / "a.png")
    images.write(PICTURE, tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(images.read(tmp_path / name).pixels, PHOTO)
    assert Image.MAX_IMAGE_PIXELS == 10


def truncations(suffix, tmp_path):
    deep = suffix.startswith("16")
    path = tmp_path / f"a{suffix.removeprefix('16')}"
    images.write(Picture(PHOTO.astype(np.uint16) * 257) if deep else PICTURE, path)
    data = path.read_bytes()
    whole = images.read(path)
    for cut in (1, 3, 10, 30, 100, len(data) // 3, len(data) // 2, len(data) - 400, len(data) - 20, len(data) - 1):
        path.write_bytes(data[: max(1, cut)])
        yield path, whole


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", "16.png", "16.tif", ".avif"])
def test_truncated_files(tmp_path, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    refused = 0
    for path, whole in truncations(suffix, tmp_path):
        try:
            picture = images.read(path)
        except RestoreError as error:
            message = str(error)
            refused += 1
            assert path.name in message and "\n" not in message
        else:  # the missing part did not matter
            np.testing.assert_array_equal(picture.pixels, whole.pixels)
    assert refused >= 8


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", "16.png", "16.tif"])
def test_damaged_files_are_refused_or_read_but_never_crash(tmp_path, suffix):
    deep = suffix.startswith("16")
    path = tmp_path / f"a{suffix.removeprefix('16')}"
    images.write(Picture(PHOTO.astype(np.uint16) * 257) if deep else PICTURE, path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for count in range(1, 40):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data) if count % 2 else 200, count):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            images.read(path, max_pixels=1_000_000)
            images.jpeg_coefficients(path, max_pixels=1_000_000)
        except RestoreError as error:
            assert path.name in str(error) and "\n" not in str(error)


def test_avif_without_support(tmp_path, monkeypatch):
    (tmp_path / "a.avif").write_bytes(b"\0\0\0 ftypavif" + bytes(100))
    monkeypatch.setattr("bcm_restore.images.reading.features.check", lambda name: False)
    assert "AVIF" in assert_one_line("a.avif", images.read, tmp_path / "a.avif")
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF", raising=False)
    assert "AVIF" in assert_one_line("b.avif", images.write, PICTURE, tmp_path / "b.avif")


# Writing


def test_formats(tmp_path):
    for name in ("a", "a.xyz", "a.gif"):
        message = assert_one_line(name, images.write, PICTURE, tmp_path / name)
        assert all(suffix in message for suffix in images.SUFFIXES)
    assert "'xyz'" in assert_one_line("a.png", images.write, PICTURE, tmp_path / "a.png", format="xyz")
    assert not list(tmp_path.iterdir())
    for name, format, expected in (("a", "webp", "WEBP"), ("b.dat", "JPEG", "JPEG"), ("c.png", "tif", "TIFF")):
        images.write(PICTURE, tmp_path / name, format=format)
        assert images.read(tmp_path / name).format == expected
    assert images.output_format("x.JPG") == "JPEG" and images.output_format("x", "AVIF") == "AVIF"


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
def test_transparency_is_not_lost_silently(tmp_path, name):
    picture = Picture(PHOTO, np.full(PHOTO.shape[:2], 200, np.uint8))
    assert ".png" in assert_one_line(name, images.write, picture, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "limit"), [("a.jpg", 65500), ("a.webp", 16383)])
def test_size_limits_of_formats(tmp_path, name, limit):
    images.write(Picture(np.zeros((1, limit), np.uint8)), tmp_path / name)
    assert images.read(tmp_path / name).size == (1, limit)
    for shape in ((1, limit + 1), (limit + 1, 1)):
        message = assert_one_line(name, images.write, Picture(np.zeros(shape, np.uint8)), tmp_path / name)
        assert str(limit) in message


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_is_checked(tmp_path, quality):
    assert "quality" in assert_one_line("a.jpg", images.write, PICTURE, tmp_path / "a.jpg", quality=quality)


def test_missing_folders_are_created(tmp_path):
    images.write(PICTURE, tmp_path / "x" / "y" / "a.png")
    assert [p.name for p in (tmp_path / "x" / "y").iterdir()] == ["a.png"]


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "x").write_text("a file")
    assert "a file, not a folder" in assert_one_line("a.png", images.write, PICTURE, tmp_path / "x" / "a.png")
    assert "a file, not a folder" in assert_one_line("a.png", images.write, PICTURE, tmp_path / "x" / "y" / "a.png")
    (tmp_path / "b.png").mkdir()
    assert "folder" in assert_one_line("b.png", images.write, PICTURE, tmp_path / "b.png")
    assert "too long" in assert_one_line("n.png", images.write, PICTURE, tmp_path / ("n" * 300 + "n.png"))


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/null")
def test_devices_are_not_replaced():
    assert "ordinary" in assert_one_line("null", images.write, PICTURE, "/dev/null", format="png")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def half_written(self, data):
    with self.open("wb") as file:
        file.write(data[: len(data) // 2])
    full()


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("target", "name", "failure", "words"),
    [
        (Path, "write_bytes", half_written, "disk is full"),
        (files.os, "fsync", full, "disk is full"),
        (files.os, "open", lambda *a: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")), "not allowed"),
        (Path, "replace", lambda *a: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")), "I/O error"),
    ],
)
def test_failures_leave_no_trace(tmp_path, monkeypatch, existing, target, name, failure, words):
    path = tmp_path / "a.png"
    if existing:
        path.write_bytes(b"what was there")
    with monkeypatch.context() as patch:
        patch.setattr(target, name, failure)
        assert words in assert_one_line("a.png", images.write, PICTURE, path)
    assert [p.name for p in tmp_path.iterdir()] == (["a.png"] if existing else [])
    if existing:
        assert path.read_bytes() == b"what was there"
    images.write(PICTURE, path)
    np.testing.assert_array_equal(images.read(path).pixels, PHOTO)


@pytest.mark.parametrize("problem", [KeyboardInterrupt, ZeroDivisionError])
def test_interruption_leaves_no_trace(tmp_path, problem):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(problem), files.atomic_path(path) as temporary:
        temporary.write_text("new, but only ha")
        raise problem
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_atomic_path(tmp_path):
    path = tmp_path / "deep" / "a.json"
    with files.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent and not path.exists()
        assert not images.is_image(temporary)
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_permissions_and_links(tmp_path):
    previous = os.umask(0o027)
    try:
        images.write(PICTURE, tmp_path / "a.png")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
    (tmp_path / "link.png").symlink_to("a.png")
    images.write(Picture(PHOTO[:5]), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert images.read(tmp_path / "a.png").size == (5, 64)


@pytest.mark.parametrize("name", ["with space.png", "ünïcödé 图.png", "-rf.png", "a'b\"c.png", "x" * 240 + ".png"])
def test_odd_names(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write(PICTURE, name)
    np.testing.assert_array_equal(images.read(name).pixels, PHOTO)
    images.write(PICTURE, name, format="jpg")
    assert images.jpeg_coefficients(name).size == (48, 64)
    deep = Picture(PHOTO.astype(np.uint16))
    images.write(deep, name)
    np.testing.assert_array_equal(images.read(name).pixels, deep.pixels)


def test_without_a_standard_error_stream(tmp_path):
    images.write(Picture(PHOTO.astype(np.uint16)), tmp_path / "a.tif")
    code = (
        "import os, sys; os.close(2)\n"
        "from bcm_restore import images\n"
        "print(images.read(sys.argv[1]).pixels.dtype, 'torch' in sys.modules, 'cv2' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.tif")], capture_output=True, text=True, check=True
    )
    assert result.stdout == "uint16 False True\n"


def test_import_is_light():
    code = "import bcm_restore.images, sys; print([m for m in ('torch', 'cv2', 'jpeglib') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_threads(tmp_path):
    names = [tmp_path / name for name in ("a.png", "a.tif", "a.jpg", "b.tif")]
    for name in names[:3]:
        images.write(PICTURE, name)
    images.write(Picture(PHOTO.astype(np.uint16)), names[3])
    expected = [images.read(name).pixels for name in names]
    luma = images.jpeg_coefficients(names[2]).planes[0]
    wrong = []

    def work():
        for _ in range(10):
            for name, pixels in zip(names, expected, strict=True):
                if not np.array_equal(images.read(name).pixels, pixels):
                    wrong.append(name)
            if not np.array_equal(images.jpeg_coefficients(names[2]).planes[0], luma):
                wrong.append("coefficients")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
