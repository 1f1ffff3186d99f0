"""The commands that restore pictures, with the model inside the package."""

import functools
import json

import numpy as np
import pytest
from helpers.toys import Tight
from PIL import Image

from bcm_restore import images, weights
from bcm_restore.model import BCM
from bcm_restore.tasks import base


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_inpaint_keeps_known_pixels(cli, photo, mask, face, hole, tmp_path):
    result = cli("inpaint", photo, "--mask", mask)
    out = pixels(tmp_path / "photo_inpainted.png")
    assert np.array_equal(out[hole == 0], face[hole == 0])
    assert not np.array_equal(out[hole > 0], face[hole > 0])
    assert result.stdout.startswith(f"{photo} -> {tmp_path / 'photo_inpainted.png'} (40x48, NFE 4, ")
    assert result.stderr == ""


def test_a_device_without_memory_is_reported_once(cli, photo, tmp_path, monkeypatch):
    """Device "meta" computes nothing."""
    monkeypatch.setattr(base, "_warn_of_cpu_fallback", functools.cache(base._warn_of_cpu_fallback.__wrapped__))
    monkeypatch.setattr(weights, "load_model", lambda *names, **options: BCM(Tight(), device="meta"))
    said = [cli("super-resolve", photo, "--nfe", 2, "--seed", seed, "--overwrite").stderr for seed in (1, 2)]
    assert said == ["warning: the GPU's memory is too small for some pictures; the CPU restores them\n", ""]
    assert pixels(tmp_path / "photo_x4.png").shape == (192, 160, 3)


def test_same_seed_same_pixels(cli, photo, mask, tmp_path):
    scheme = ["--scheme", "noise 0.5, to 0, fit"]
    outputs = []
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        cli("inpaint", photo, "--mask", mask, *scheme, "--seed", seed, "-o", tmp_path / name)
        outputs.append(pixels(tmp_path / name))
    assert np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


def test_inverted_and_grown_masks(cli, photo, save, face, hole, tmp_path):
    inverted = save("inverted.png", 255 - hole)
    cli("inpaint", photo, "--mask", inverted, "--invert-mask", "--grow", 3, "-o", tmp_path / "out.png")
    changed = (pixels(tmp_path / "out.png") != face).any(2)
    assert changed[7, 16]  # 3 above the box
    assert not changed[6, 16]
    assert not changed[7, 9]  # the corner of a square, not of a disc
    assert np.array_equal(pixels(tmp_path / "out.png")[24:26], face[24:26])


def test_mask_of_another_size_is_fitted(cli, photo, save, face, hole, tmp_path):
    small = save("small.png", Image.fromarray(hole).resize((20, 24), Image.Resampling.NEAREST))
    cli("inpaint", photo, "--mask", small, "--fit-mask")
    fitted = np.asarray(Image.open(small).resize((40, 48), Image.Resampling.NEAREST))
    assert np.array_equal(pixels(tmp_path / "photo_inpainted.png")[fitted == 0], face[fitted == 0])


def test_transparent_pixels_are_filled(cli, save, face, hole, tmp_path):
    photo = save("photo.png", np.dstack([face, 255 - hole]))
    cli("inpaint", photo, "--mask", "alpha", "--compare")
    out = Image.open(tmp_path / "photo_inpainted.png")
    assert out.mode == "RGB"
    assert np.array_equal(np.asarray(out)[hole == 0], face[hole == 0])
    assert Image.open(tmp_path / "photo_inpainted_compare.png").size == (80, 48)


def test_alpha_is_kept_with_a_mask(cli, save, mask, face, tmp_path):
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (48, 1))
    cli("inpaint", save("photo.png", np.dstack([face, alpha])), "--mask", mask)
    assert np.array_equal(pixels(tmp_path / "photo_inpainted.png")[:, :, 3], alpha)


def test_empty_mask_copies_and_says_so(cli, photo, save, face, tmp_path):
    empty = save("masks/empty.png", np.zeros((48, 40), np.uint8))
    result = cli("inpaint", photo, "--mask", empty)
    assert "mask is empty" in result.stdout
    assert np.array_equal(pixels(tmp_path / "photo_inpainted.png"), face)


def test_masks_of_a_folder_by_stem(cli, save, face, hole, tmp_path):
    for name in ("a.png", "trip/b.webp", "home/b.png", "c.png"):
        save(f"album/{name}", face)
    save("album/masks/a.bmp", hole)
    save("album/masks/trip/b.png", hole)
    save("album/masks/home/b.png", hole)
    album = tmp_path / "album"
    result = cli("inpaint", album, "-r", "--mask", album / "masks", "--nfe", 1, "--json", status=1)
    entries = json.loads(result.stdout)["files"]
    outcome = {entry["input"].removeprefix(f"{album}/"): entry["status"] for entry in entries}
    assert outcome == {"a.png": "restored", "c.png": "failed", "home/b.png": "restored", "trip/b.webp": "restored"}
    assert f"{album / 'c.png'}: no mask named c.*" in result.stderr
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("album_inpainted/**/*.png"))
    assert written == ["album_inpainted/a.png", "album_inpainted/home/b.png", "album_inpainted/trip/b.png"]


def test_ambiguous_masks(cli, photo, save, hole, tmp_path):
    save("masks/photo.png", hole)
    save("masks/photo.bmp", hole)
    assert "could be its mask" in cli.refuses(tmp_path, "inpaint", photo, "--mask", tmp_path / "masks")


def test_jpeg_with_orientation(cli, save, face, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = save("photo.jpg", face, quality=10, exif=exif)
    cli("jpeg-restore", photo, "--compare")
    out = Image.open(tmp_path / "photo_restored.png")
    assert out.size == (48, 40)
    assert out.getexif().get(0x0112, 1) == 1
    before = images.read(photo).pixels.astype(float)
    clean = np.rot90(face, -1).astype(float)
    assert ((np.asarray(out) - clean) ** 2).mean() < ((before - clean) ** 2).mean()
    compare = pixels(tmp_path / "photo_restored_compare.png")
    assert np.array_equal(compare, np.hstack([images.read(photo).pixels, np.asarray(out)]))


def test_never_compressed_is_skipped_in_a_folder(cli, save, face, tmp_path):
    save("album/a.jpg", face, quality=20)
    never = save("album/never.png", np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8))
    result = cli("jpeg-restore", tmp_path / "album", "--json")
    entries = json.loads(result.stdout)["files"]
    assert [entry["status"] for entry in entries] == ["restored", "skipped"]
    assert "no trace of JPEG compression found" in entries[1]["remark"]
    assert f"{never}: no trace of JPEG compression found" in result.stderr
    assert "error" not in result.stderr
    assert not (tmp_path / "album_restored" / "never.png").exists()
    assert "--input-quality" in cli.refuses(tmp_path, "jpeg-restore", never)
    cli("jpeg-restore", never, "--input-quality", 30, "-o", tmp_path / "forced.png")
    assert (tmp_path / "forced.png").exists()


def test_jpeg_saved_twice(cli, save, face, tmp_path):
    Image.fromarray(np.tile(face, (2, 2, 1))).save(tmp_path / "once.jpg", quality=10)
    Image.open(tmp_path / "once.jpg").save(tmp_path / "twice.jpg", quality=90)
    result = cli("jpeg-restore", tmp_path / "twice.jpg", "--nfe", 1)
    assert "; was quality 10 before it was 90)" in result.stdout
    [entry] = json.loads(cli("jpeg-restore", tmp_path / "twice.jpg", "--json", "--overwrite", "--nfe", 1).stdout)[
        "files"
    ]
    assert entry["status"] == "restored" and entry["remark"] == "was quality 10 before it was 90"


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_jpegs_in_other_colours(cli, face, tmp_path, mode):
    photo = np.tile(face, (2, 2, 1))
    image = Image.fromarray(photo).convert(mode)
    image.save(tmp_path / "a.jpg", quality=10, **({"keep_rgb": True} if mode == "RGB" else {}))
    cli("jpeg-restore", tmp_path / "a.jpg", "--nfe", 1)
    before, after = (
        ((images.read(tmp_path / name).pixels.astype(float) - photo) ** 2).mean()
        for name in ("a.jpg", "a_restored.png")
    )
    assert after < 0.9 * before
    cli("jpeg-restore", tmp_path / "a.jpg", "--input-quality", 10, "--overwrite", "--nfe", 1)


def test_cmyk_keeps_its_black(cli, face, tmp_path):
    inks = np.dstack([255 - face, np.tile(np.linspace(0, 200, face.shape[1]).astype(np.uint8), (face.shape[0], 1))])
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=10)
    cli("jpeg-restore", tmp_path / "a.jpg", "--nfe", 1)
    clean = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")).astype(float)
    before, after = (
        ((images.read(tmp_path / name).pixels - clean) ** 2).mean() for name in ("a.jpg", "a_restored.png")
    )
    assert after < 0.95 * before


def test_png_that_was_a_jpeg(cli, save, face, tmp_path):
    Image.fromarray(np.tile(face, (2, 2, 1))).save(tmp_path / "was.jpg", quality=15)
    save("was.png", Image.open(tmp_path / "was.jpg"))
    cli("jpeg-restore", tmp_path / "was.png", "-o", tmp_path / "out.png")
    assert not np.array_equal(pixels(tmp_path / "out.png"), pixels(tmp_path / "was.png"))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_super_resolve(cli, photo, face, tmp_path, scale):
    arguments = [] if scale == 4 else ["--scale", scale]
    cli("super-resolve", photo, *arguments, "--nfe", 1, "--compare")
    large = Image.open(tmp_path / f"photo_x{scale}.png")
    assert large.size == (40 * scale, 48 * scale)
    again = np.asarray(large.resize((40, 48), Image.Resampling.BICUBIC)).astype(int)
    assert abs(again - face).max() <= 2
    assert Image.open(tmp_path / f"photo_x{scale}_compare.png").size == (80 * scale, 48 * scale)


def test_too_large_a_result(cli, save, tmp_path):
    wide = save("wide.png", np.zeros((1, 6_500_000), np.uint8))
    assert "megapixels" in cli.refuses(tmp_path, "super-resolve", wide, "--scale", 8)


@pytest.mark.parametrize(
    ("mode", "dtype"), [("L", np.uint8), ("LA", np.uint8), ("RGBA", np.uint8), ("I;16", np.uint16), ("P", np.uint8)]
)
def test_kinds_of_pictures(cli, save, face, tmp_path, mode, dtype):
    if mode == "I;16":
        picture = Image.fromarray(face[:, :, 0].astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(face).convert(mode)
    cli("super-resolve", save("photo.png", picture), "--scale", 2, "--nfe", 1, "--compare")
    out = images.read(tmp_path / "photo_x2.png")
    assert out.size == (96, 80)
    assert out.pixels.dtype == dtype
    assert out.pixels.ndim == (3 if mode in ("RGBA", "P") else 2)
    assert (out.alpha is not None) == mode.endswith("A")
    assert images.read(tmp_path / "photo_x2_compare.png").size == (96, 160)


def test_formats_and_quality(cli, photo, tmp_path):
    for quality in (10, 95):
        cli("super-resolve", photo, "--nfe", 1, "--format", "jpg", "--quality", quality, "-o", f"{tmp_path}/{quality}/")
    sizes = [(tmp_path / f"{quality}" / "photo_x4.jpg").stat().st_size for quality in (10, 95)]
    assert sizes[0] < sizes[1] / 2
    cli("super-resolve", photo, "--nfe", 1, "-o", tmp_path / "out.webp")
    assert Image.open(tmp_path / "out.webp").format == "WEBP"


def test_json_says_what_was_done(cli, photo, tmp_path):
    result = cli("super-resolve", photo, "--scale", 2, "--nfe", 2, "--json", "--compare")
    document = json.loads(result.stdout)
    assert (document["task"], document["model"], document["device"]) == ("super-resolve", "bcm-photo", "cpu")
    [entry] = document["files"]
    assert entry["seconds"] > 0
    assert entry["scheme"].count("fit")
    assert {key: entry[key] for key in ("input", "output", "compare", "status", "nfe", "case", "size", "error")} == {
        "input": str(photo),
        "output": str(tmp_path / "photo_x2.png"),
        "compare": str(tmp_path / "photo_x2_compare.png"),
        "status": "restored",
        "nfe": 2,
        "case": "x2",
        "size": [80, 96],
        "error": None,
    }


def test_json_of_a_failure(cli, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    result = cli("super-resolve", broken, "--json", status=2)
    [entry] = json.loads(result.stdout)["files"]
    assert entry["status"] == "failed"
    assert entry["output"] is None
    assert result.stderr == f"error: {entry['error']}\n"


def test_a_broken_file_does_not_stop_the_rest(cli, save, face, tmp_path):
    for name in ("a.png", "c.png", "deep/d.png"):
        save(f"album/{name}", face)
    broken = tmp_path / "album" / "b.png"
    broken.write_bytes(b"not a picture")
    result = cli("super-resolve", tmp_path / "album", "-r", "--nfe", 1, status=1)
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("album_x4/**/[!.]*") if path.is_file())
    assert written == ["album_x4/a.png", "album_x4/c.png", "album_x4/deep/d.png"]
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"error: {broken}: ")
    assert lines[1:] == ["1 of 4 files failed:", f"  {lines[0].removeprefix('error: ')}"]
    assert result.stdout.count(" -> ") == 3


def test_the_only_file_of_a_folder_is_one_of_several(cli, tmp_path):
    broken = tmp_path / "album" / "b.png"
    broken.parent.mkdir()
    broken.write_bytes(b"not a picture")
    assert "1 of 1 files failed" in cli("super-resolve", broken.parent, status=1).stderr


def test_bugs_in_a_folder_are_lines_too(cli, save, face, tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        save(f"album/{name}", face)
    read = images.read

    def no_memory(path, **options):
        if path.name == "a.png":
            raise MemoryError
        return read(path, **options)

    monkeypatch.setattr(images, "read", no_memory)
    result = cli("super-resolve", tmp_path / "album", "--nfe", 1, status=1)
    assert "MemoryError" in result.stderr
    assert "a.png" in result.stderr.splitlines()[0]
    assert (tmp_path / "album_x4" / "b.png").exists()


def test_resume_does_what_is_missing(cli, save, face, tmp_path):
    for name in ("a.png", "b.png"):
        save(f"album/{name}", face)
    kept = save("album_x4/a.png", face)
    before = kept.read_bytes()
    result = cli("super-resolve", tmp_path / "album", "--nfe", 1, "--resume")
    assert result.stdout.count(" -> ") == 1
    assert kept.read_bytes() == before
    assert "nothing to do" in cli("super-resolve", tmp_path / "album", "--nfe", 1, "--resume").stderr


def test_masks_of_a_folder_are_not_overwritten(cli, save, face, hole, tmp_path):
    save("album/a.png", face)
    masks = save("masks/a.png", hole).parent
    line = cli.refuses(tmp_path, "inpaint", tmp_path / "album", "--mask", masks, "-o", masks, "--overwrite")
    assert "is an input" in line
