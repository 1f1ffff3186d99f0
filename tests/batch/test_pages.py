"""Files of several pages, files that are not read, and times, by the command line."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from bcm_restore import images
from bcm_restore.images import kinds

SMALL = ["--scale", "2", "--nfe", "1"]


@pytest.fixture
def three(face):
    """Pictures of 10x12, each darker than the one before."""
    small = Image.fromarray(face).resize((10, 12))
    return [small.point(lambda v, n=n: v // n) for n in (1, 2, 3)]


@pytest.fixture
def pages(tmp_path, three):
    three[0].save(tmp_path / "pages.tif", save_all=True, append_images=three[1:])
    return tmp_path / "pages.tif"


def test_pages_are_restored_where_the_output_holds_them(cli, tmp_path, pages, three):
    entry = json.loads(cli("super-resolve", pages, *SMALL, "-o", tmp_path / "out.tif", "--json").stdout)["files"][0]
    assert (entry["pages"], entry["remark"]) == (3, None)
    with Image.open(tmp_path / "out.tif") as large:
        assert large.n_frames == 3
        for n, small in enumerate(three):
            large.seek(n)
            assert large.size == (20, 24)
            back = np.asarray(large.convert("RGB").resize(small.size, Image.Resampling.BICUBIC)).astype(int)
            assert np.abs(back - np.asarray(small)).mean() < 2


def test_pages_that_are_left_out_are_named(cli, tmp_path, pages):
    assert "page 1 of 3; --format tiff keeps all" in cli("super-resolve", pages, *SMALL).stdout
    entry = json.loads(cli("super-resolve", pages, *SMALL, "--overwrite", "--json").stdout)["files"][0]
    assert (entry["pages"], entry["remark"]) == (3, "page 1 of 3; --format tiff keeps all")
    assert Image.open(tmp_path / "pages_x2.png").size == (20, 24)


def test_interpolation_names_the_pages_it_leaves_out(cli, pages, three, save):
    report = cli("interpolate", pages, save("b.png", three[1]), "--frames", "2", "--nfe", "2", "--json").stdout
    assert json.loads(report)["files"][0]["remark"] == f"{pages}: page 1 of 3"


def test_every_frame_is_inpainted_with_the_mask(cli, tmp_path, three, save):
    three[0].save(tmp_path / "anim.gif", save_all=True, append_images=three[1:], duration=70, loop=0)
    mask = np.zeros((12, 10), np.uint8)
    mask[4:7, 3:6] = 255
    cli("inpaint", tmp_path / "anim.gif", "--mask", save("mask.png", mask), "--nfe", "1")
    with Image.open(tmp_path / "anim.gif") as before, Image.open(tmp_path / "anim_inpainted.png") as after:
        assert after.n_frames == 3
        for n in range(3):
            before.seek(n)
            after.seek(n)
            a, b = (np.asarray(image.convert("RGB")) for image in (before, after))
            assert np.array_equal(a[mask == 0], b[mask == 0])
            assert not np.array_equal(a, b)
            assert after.info["duration"] == 70


def test_pages_that_never_were_jpegs_stay_unchanged(cli, tmp_path, portrait):
    file = tmp_path / "a.jpg"
    Image.fromarray(portrait).save(file, quality=10)
    squeezed, clean = Image.open(file).convert("RGB"), Image.new("RGB", (40, 30), "teal")
    clean.save(tmp_path / "mixed.tif", save_all=True, append_images=[squeezed])
    cli("jpeg-restore", tmp_path / "mixed.tif", "--nfe", "1", "-o", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as out:
        assert np.array_equal(np.asarray(out), np.asarray(clean))
        out.seek(1)
        assert out.size == squeezed.size
        assert not np.array_equal(np.asarray(out), np.asarray(squeezed))
    clean.save(tmp_path / "clean.tif", save_all=True, append_images=[clean])
    assert "JPEG" in cli("jpeg-restore", tmp_path / "clean.tif", "-o", tmp_path / "no.tif", status=2).stderr
    assert not (tmp_path / "no.tif").exists()


def test_a_folder_with_pages_is_resumed(cli, tmp_path, pages):
    (tmp_path / "album").mkdir()
    pages.rename(tmp_path / "album" / "pages.tif")
    out = tmp_path / "out"
    first = json.loads(cli("super-resolve", tmp_path / "album", *SMALL, "-o", out, "--json").stdout)["files"]
    assert [one["status"] for one in first] == ["restored"]
    again = json.loads(cli("super-resolve", tmp_path / "album", *SMALL, "-o", out, "--json").stdout)["files"]
    assert [one["status"] for one in again] == ["kept"]


def test_times_are_kept_on_request(cli, tmp_path, photo):
    os.utime(photo, ns=(1_000_000_000_000_000_000, 1_100_000_000_000_000_000))
    cli("super-resolve", photo, *SMALL, "--keep-times", "--compare", "-o", tmp_path / "a.png")
    for name in ("a.png", "a_compare.png"):
        assert (tmp_path / name).stat().st_mtime_ns == 1_100_000_000_000_000_000
    cli("super-resolve", photo, *SMALL, "-o", tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_mtime_ns > 1_100_000_000_000_000_000


# Unsupported formats


def test_pictures_that_are_not_read_are_counted_and_named_once(cli, tmp_path, photo, monkeypatch):
    monkeypatch.setattr(kinds, "reads_heif", lambda: False)
    album = tmp_path / "album"
    (album / "sub").mkdir(parents=True)
    photo.rename(album / "photo.png")
    for name in ("a.HEIC", "sub/b.heif", "c.CR2", "d.dng", "e.gif", "notes.txt", "._f.heic", "g.jp2", "film.mp4"):
        (album / name).write_bytes(b"x")
    expected = (
        'not read: 1 GIF (read when named one by one), 2 HEIC (pip install "bcm-restore[heif]"), '
        "1 JPEG 2000 (convert them to PNG first, with Pillow), "
        "2 camera RAW (develop them to TIFF first, with rawpy or darktable)"
    )
    found = cli("super-resolve", album, "-r", *SMALL)
    assert found.stderr.splitlines().count(expected) == 1
    assert cli("super-resolve", album, "-r", *SMALL, "--dry-run").stderr.splitlines().count(expected) == 1
    (album / "photo.png").unlink()
    error = cli.refuses(tmp_path, "super-resolve", album, "-r", "--scale", "2")
    assert error == f"error: {album}: no pictures in this folder; {expected}"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_pictures_without_a_suffix_are_known_by_their_header(cli, tmp_path, three, format):
    album = tmp_path / "album"
    album.mkdir()
    three[0].save(album / "photo", format)
    three[1].save(album / "photo.png")
    for name, content in (("README", b"photo"), ("empty", b""), ("LICENSE.txt", (album / "photo").read_bytes())):
        (album / name).write_bytes(content)
    (album / "folder").mkdir()
    cli("super-resolve", album, *SMALL)
    outputs = {path.name for path in (tmp_path / "album_x2").iterdir() if not path.name.startswith(".")}
    assert outputs == {"photo.png", "photo.png.png"}
    cli("super-resolve", album / "photo", *SMALL, "-o", tmp_path / "alone.png")
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "album_x2" / "photo.png").read_bytes()


def test_heic_without_its_package_says_which(cli, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    error = cli.refuses(tmp_path, "super-resolve", tmp_path / "a.heic")
    assert error == f'error: {tmp_path / "a.heic"}: HEIC needs pillow-heif; pip install "bcm-restore[heif]"'


def test_heic_is_read_with_its_package(cli, tmp_path, face):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "Maker"
    Image.fromarray(face).save(tmp_path / "photo.heic", quality=90, exif=tags.tobytes())
    picture = images.read(tmp_path / "photo.heic")
    assert picture.size == (40, 48)
    assert np.abs(np.rot90(picture.pixels).astype(int) - face).mean() < 12
    assert images.is_image("a.HEIC")
    cli("super-resolve", tmp_path / "photo.heic", *SMALL, "-o", tmp_path / "b.jpg")
    large = Image.open(tmp_path / "b.jpg")
    assert large.size == (96, 80)
    assert large.getexif()[0x010F] == "Maker"
