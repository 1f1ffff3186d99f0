"""Malformed and malicious files: each ends in a picture or in one line that names it."""

import functools
import importlib.util
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bcm_restore import images, masks
from bcm_restore.errors import RestoreError
from bcm_restore.images import jpeg, jpeg_segments
from bcm_restore.images.reading import opened
from bcm_restore.images.silenced import pillow_silenced

_spec = importlib.util.spec_from_file_location("hostile", Path(__file__).parents[2] / "benchmarks" / "hostile.py")
hostile = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hostile)


@functools.cache
def traps():
    return dict(hostile.traps())


def outcome(path):
    """The picture, or the message that refuses it; checks that masks and coefficients end likewise."""
    found = []
    for reader in (images.read, masks.read, images.jpeg_coefficients):
        try:
            found.append(reader(path))
        except RestoreError as error:
            assert path.name in str(error) and str(error).isprintable()
            found.append(str(error))
    return found[0]


@pytest.mark.parametrize("name", [name for name, _ in hostile.seeds()])
def test_valid_and_damaged_files_of_every_kind(tmp_path, name):
    content = dict(hostile.seeds())[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert sorted(outcome(path).size) == [48, 64]
    rng = random.Random(name)
    for _ in range(3):
        path.write_bytes(hostile.damaged(name, content, content[::-1], rng))
        outcome(path)


@pytest.mark.slow
def test_traps(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    read, refused = set(), {}
    for name, content in traps().items():
        path = tmp_path / name
        path.write_bytes(content)
        found = outcome(path)
        if isinstance(found, str):
            refused[name] = found
        else:
            read.add(name)
    assert {"texts.png", "texts_before.png", "wide.png", "wide16.png", "tall.png", "wide.jpg", "wide.tif"} <= read
    assert {"loop.tif", "exif_loop.tif", "exif_loop.jpg", "exif_loop.png", "scans_100.jpg"} <= read
    assert "200 megapixels" in refused["declared.png"] and "--max-pixels" in refused["declared.png"]
    assert "scans" in refused["scans_5000.jpg"] and "scans" in refused["scans_100000.jpg"]
    assert "segments" in refused["segments.jpg"] and "fill bytes" in refused["fill.jpg"]
    assert "count 1.5 times (progressive JPEG)" in refused["declared_progressive.jpg"]
    for kind in ("rgb", "subsampled", "cmyk", "grey"):
        assert "too few" in refused[f"declared_{kind}.jpg"]
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("damage", ["no header", "bad codes", "twelve bits"])
def test_headers_that_would_crash_jpeglib_are_refused_first(tmp_path, monkeypatch, damage):
    def layout(data):
        found = real(data)
        essence = {
            "no header": b"\xff\xd8" + b"garbage" * 20,
            "bad codes": found.essence.replace(b"\xff\xc4\x00\x1f\x00", b"\xff\xc4\x00\x1f\x07"),
            "twelve bits": found.essence.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        }[damage]
        assert essence != found.essence
        return found._replace(essence=essence)

    real = jpeg._layout
    monkeypatch.setattr(jpeg, "_layout", layout)
    path = tmp_path / "a.jpg"
    path.write_bytes(dict(hostile.seeds())["subsampled.jpg"])
    assert images.jpeg_coefficients(path) is None


def test_only_scans_of_the_picture_count(tmp_path):
    """Not those in the data after it, where phones store videos."""
    path = tmp_path / "a.jpg"
    plain = dict(hostile.seeds())["progressive.jpg"]
    most = jpeg_segments._MOST_SCANNED // (64 * 48)
    path.write_bytes(plain + b"\xff\xda" * (most + 1))
    assert images.read(path).size == (48, 64)


def test_flat_pictures_are_not_refused_as_too_short(tmp_path):
    for progressive in (False, True):
        for mode in ("L", "RGB"):
            Image.new(mode, (2000, 2000)).save(tmp_path / "a.jpg", progressive=progressive, optimize=True)
            assert not images.read(tmp_path / "a.jpg").pixels.any()


def test_bands_cover_every_row(tmp_path):
    """Pictures and masks of several bands are read correctly."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1500, 1001, 4), np.uint8)
    for count in (1, 2, 3, 4):
        Image.fromarray(pixels[..., 0] if count == 1 else pixels[..., :count]).save(
            tmp_path / "a.png", compress_level=0
        )
        picture = images.read(tmp_path / "a.png")
        colours = pixels[..., :3] if count > 2 else pixels[..., 0]
        assert np.array_equal(picture.pixels, colours)
        assert count % 2 or np.array_equal(picture.alpha, pixels[..., count - 1])
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png", compress_level=0)
    assert np.array_equal(masks.read(tmp_path / "a.png", threshold=128).hole, pixels[..., 0] >= 128)


@pytest.mark.parametrize("transparent", [False, True])
def test_deep_pictures_of_several_bands(tmp_path, transparent):
    deep = np.random.default_rng(0).integers(0, 65536, (1500, 1001, 4), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep if transparent else deep[..., :3])
    picture = images.read(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, deep[..., 2::-1])
    assert np.array_equal(picture.alpha, deep[..., 3]) if transparent else picture.alpha is None


def test_bands_are_converted_like_the_whole_picture(tmp_path):
    """CMYK, floats and transparent colours, in several bands."""
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1001, 4), np.uint8)
    inks = Image.fromarray(pixels, "CMYK")
    inks.save(tmp_path / "a.tif")
    assert np.array_equal(images.read(tmp_path / "a.tif").pixels, np.asarray(inks.convert("RGB")))
    Image.fromarray(pixels[..., 0] / np.float32(255)).save(tmp_path / "a.tif")
    assert np.array_equal(images.read(tmp_path / "a.tif").pixels, pixels[..., 0] * np.uint16(257))
    spoilt = pixels[..., 0] / np.float32(255)
    spoilt[0, 0], spoilt[-1, -1] = 2, np.nan
    for last, line in ((np.nan, "go from nan to nan"), (-1, "go from -1 to 2")):
        spoilt[-1, -1] = last
        Image.fromarray(spoilt).save(tmp_path / "a.tif")
        with pytest.raises(RestoreError, match=line):
            images.read(tmp_path / "a.tif")
    few = pixels[..., :3] // 128
    Image.fromarray(few).save(tmp_path / "a.png", transparency=(0, 1, 1), compress_level=0)
    assert np.array_equal(images.read(tmp_path / "a.png").alpha == 0, (few == [0, 1, 1]).all(axis=-1))


def test_no_temporary_files_remain_when_jpeglib_fails(tmp_path, monkeypatch):
    def fail(**arguments):
        assert Path(arguments["srcfile"]).is_relative_to(scratch)
        raise OSError("reading of DCT failed")

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr("jpeglib._bind.CJpegLib.read_jpeg_dct", fail)
    path = tmp_path / "a.jpg"
    path.write_bytes(dict(hostile.seeds())["subsampled.jpg"])
    assert images.jpeg_coefficients(path) is None
    assert not list(scratch.iterdir())


def test_the_corpus_is_deterministic():
    hostile.seeds()
    time.sleep(1)  # some encoders write the time in seconds
    again = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(again)
    assert again.seeds() == hostile.seeds()


# The command line


def super_resolve(*arguments, cwd):
    """Status, stdout and stderr, as bytes."""
    command = [sys.executable, "-m", "bcm_restore", "super-resolve", "--scale", "2", "--nfe", "1", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=120, check=False)
    return run.returncode, run.stdout, run.stderr


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


needs_posix = pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")


@pytest.mark.slow
@needs_posix
def test_hostile_names_stay_in_the_output_folder(tmp_path, face):
    Image.fromarray(face[:16, :16]).save(tmp_path / "plain.png")
    content = (tmp_path / "plain.png").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    odd = [b"a\nb", b"'\"$(x)", b".", b"-x", b"...", b"\xff\xfe", b"\x1b[31m", b"%s{0}"]
    names = [os.fsdecode(name + b".png") for name in odd]
    for name in names:
        (folder / name).write_bytes(content)
    (folder / os.fsdecode(b"broken\n\xff.png")).write_bytes(content[:60])
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "self").symlink_to(".")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    status, stdout, stderr = super_resolve("-r", "in", "-o", "out/", cwd=tmp_path)
    assert status == 1
    visible = [name for name in names if not name.startswith(".")]
    own = [".bcm-restore.jsonl", ".bcm-restore.lock"]
    assert listed(tmp_path / "out") == sorted([*own, *visible])
    assert listed(tmp_path) == ["in", "out", "plain.png"]
    lines = stdout.decode().splitlines()
    assert len(lines) == len(visible) and all(line.isprintable() for line in lines)
    errors = stderr.decode().splitlines()
    assert len(errors) == 3 and all(line.isprintable() for line in errors)  # the error, and the final list
    assert errors[0].startswith("error: in/broken\\n\\udcff.png: ")


@pytest.mark.slow
@needs_posix
def test_a_leading_dash(tmp_path, face):
    Image.fromarray(face[:16, :16]).save(tmp_path / "-x.png")
    assert super_resolve("--", "-x.png", cwd=tmp_path)[0] == 0
    assert listed(tmp_path) == ["-x.png", "-x_x2.png"]


@needs_posix
@pytest.mark.parametrize("kind", ["loop", "device", "folder", "fifo", "newline"])
def test_non_pictures_are_refused_in_one_line(cli, tmp_path, kind):
    path = tmp_path / "x.png"
    if kind == "loop":
        path.symlink_to("x.png")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = tmp_path / "a\nb.png"
    result = cli("super-resolve", path, status=2)
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ") and line.isprintable()
    assert ("a\\nb.png" if kind == "newline" else "x.png") in line
    assert listed(tmp_path) == ([] if kind == "newline" else ["x.png"])


@pytest.mark.parametrize(
    "command",
    [
        ["super-resolve", "photo.png"],
        ["inpaint", "photo.png", "--mask", "masks/mask.png"],
        ["inpaint", "small.png", "--mask", "masks/mask.png", "--fit-mask"],
        ["jpeg-restore", "photo.jpg"],
        ["interpolate", "photo.png", "photo.png"],
        ["reconstruct", "photo.png"],
        ["tune", "--task", "jpeg", "--data", "photo.png"],
        ["bench", "--task", "super-resolve", "--data", "."],
        ["bench", "--task", "inpaint", "--mask", "masks/mask.png"],
    ],
)
def test_max_pixels(cli, photo, mask, save, face, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    save("photo.jpg", face).rename(tmp_path / "photo.jpg")
    if command[0] == "bench":
        (tmp_path / "photo.jpg").unlink()
    if "small.png" in command:
        save("small.png", face[:16, :16])
    line = cli.refuses(tmp_path, *command, "--max-pixels", "0.001")
    assert "declares 40 x 48 pixels, more than the limit of 0.001 megapixels" in line


def test_max_pixels_raised(cli, photo, tmp_path):
    cli("super-resolve", photo, "--scale", "2", "--nfe", 1, "--max-pixels", "0.00192")
    assert (tmp_path / "photo_x2.png").exists()
    for wrong in ("0", "-1", "nan", "many"):
        assert "--max-pixels" in cli.refuses(tmp_path, "super-resolve", photo, "--max-pixels", wrong)


COUNTS = {
    "rgb.png": 1, "rgba.png": 1, "palette.png": 1, "grey16.png": 1, "subsampled.jpg": 1, "cmyk.jpg": 1, "cmyk.tif": 1,
    "lab.tif": 1, "float.tif": 1, "big.tif": 1, "palette.gif": 1, "rgb.bmp": 1,
    "progressive.jpg": 1.5, "rgb.avif": 1.5, "rgb16.png": 1.5, "rgb16.tif": 1.5,
    "lossy.webp": 2, "rgba16.png": 2, "rgba16_tiled.tif": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_pixels_are_weighted_by_decoding_memory(tmp_path, name):
    path, count = tmp_path / name, COUNTS[name]
    path.write_bytes(dict(hostile.seeds())[name])
    most = round(count * 48 * 64)
    images.read(path, max_pixels=most)
    with pytest.raises(RestoreError, match="--max-pixels") as refused:
        images.read(path, max_pixels=most - 1)
    assert (f"64 x 48 pixels that count {count:g} times (" in str(refused.value)) == (count > 1)


def declaring(width, height, name):
    """A valid small file that declares another size."""
    file = bytearray(dict(hostile.seeds())[name])
    if name.endswith("png"):
        parts = hostile.chunks(bytes(file))
        return hostile.png([hostile.header(width, height, *parts[0][1][8:10]), *parts[1:]])
    if name.endswith("jpg"):
        frame = re.search(rb"\xff[\xc0-\xc2]\x00.\x08", file, re.DOTALL)
        struct.pack_into(">HH", file, frame.end(), height, width)
        return bytes(file) + bytes(width * height // 2048)  # the least length for this size
    struct.pack_into(">II", file, file.index(b"ispe") + 8, width, height)
    return bytes(file)


@pytest.mark.parametrize("name", ["rgb16.png", "rgba16.png", "progressive.jpg", "subsampled.jpg", "rgb.avif"])
def test_pictures_of_100_megapixels_are_not_too_large(name):
    sizes = [(10_000, 10_000)] if name == "rgba16.png" else [(10_000, 10_000), (12_000, 9_000)]
    for width, height in sizes:
        file = BytesIO(declaring(width, height, name))
        with pillow_silenced(), opened(file, images.MAX_PIXELS) as image:
            assert image.size == (width, height)


def test_components_in_separate_scans_count_as_progressive(tmp_path):
    """libjpeg holds the coefficients of all of them in memory."""
    grey = dict(hostile.seeds())["grey.jpg"]
    marks = dict(jpeg_segments.segments(grey))
    frame = b"\xff\xc0\0\x11\x08" + marks[0xC0][5:9] + b"\3\1\x11\0\2\x11\0\3\x11\0"
    scans = b"".join(marks[0xDA][:5] + bytes([name]) + marks[0xDA][6:] for name in (1, 2, 3))
    path = tmp_path / "a.jpg"
    before, after = grey.split(marks[0xC0])
    path.write_bytes(before + frame + after.split(marks[0xDA])[0] + scans + b"\xff\xd9")
    assert images.read(path).pixels.shape == (48, 64, 3)
    with pytest.raises(RestoreError, match="progressive"):
        images.read(path, max_pixels=48 * 64)


def test_default_max_pixels_is_that_of_images():
    from bcm_restore.cli.options import Reading

    assert Reading().most_pixels == images.MAX_PIXELS
