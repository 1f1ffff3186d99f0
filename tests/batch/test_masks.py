"""Masks and transparency in the commands."""

import hashlib
import json
import pickle
import unicodedata

import numpy as np
import pytest
from PIL import Image

from bcm_restore.batch import Settings
from bcm_restore.batch.recipes.inpaint import InpaintRecipe
from bcm_restore.errors import RestoreError


def pixels(path):
    return np.asarray(Image.open(path))


def changed(out, face):
    return (pixels(out)[..., :3] != face).any(2)


@pytest.fixture
def soft(hole):
    paint = hole.copy()
    paint[9, 12:22] = 40
    paint[18, 12:22] = 3
    return paint


def test_every_touched_pixel_is_filled(cli, photo, save, face, soft, tmp_path):
    mask = save("masks/soft.png", soft)
    for name, options, marked in (
        ("any.png", (), soft > 0),
        ("most.png", ("--mask-threshold", 30), soft >= 30),
        ("half.png", ("--mask-threshold", 128), soft >= 128),
    ):
        result = cli("inpaint", photo, "--mask", mask, *options, "--nfe", 1, "-o", tmp_path / name, "--json")
        out = changed(tmp_path / name, face)
        assert not out[~marked].any()
        assert out[marked].mean() > 0.9
        assert json.loads(result.stdout)["files"][0]["remark"] is None


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("one", "mask: largest value 1 of 255, taken as marked"),
        ("red", "mask: strokes on a flat background, taken as marked"),
        ("palette", "mask: strokes on a flat background, taken as marked"),
        ("layer", "mask: strokes on transparent, taken as marked"),
        ("copy", "mask: strokes on a copy of the picture, taken as marked"),
    ],
)
def test_the_kind_of_marks_is_reported(cli, photo, save, face, hole, tmp_path, kind, found):
    marks = hole > 0
    palette = Image.fromarray(marks.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    picture = {
        "one": marks.astype(np.uint8),
        "red": np.where(marks[..., None], (255, 0, 0), 255).astype(np.uint8),
        "palette": palette,
        "layer": np.dstack([np.zeros_like(face), hole]),
        "copy": np.where(marks[..., None], (255, 0, 0), face).astype(np.uint8),
    }[kind]
    mask = save("masks/mask.png", picture)
    result = cli("inpaint", photo, "--mask", mask, "--nfe", 1)
    assert found in result.stdout
    assert "NFE 1" in result.stdout
    out = changed(tmp_path / "photo_inpainted.png", face)
    assert not out[~marks].any()
    assert out[marks].mean() > 0.9
    entry = json.loads(cli("inpaint", photo, "--mask", mask, "--nfe", 1, "--overwrite", "--json").stdout)["files"][0]
    assert (entry["status"], entry["remark"]) == ("restored", found)


def test_the_filled_colour_is_reported(cli, photo, save, face, hole, tmp_path):
    line, box = hole > 0, hole > 0
    line[:30], box[30:] = False, False
    for name, black, filled, found in (
        ("line", line, line, "mask: black strokes on white (--mask-threshold 128 fills the white), taken as marked"),
        ("box", box, ~box, "mask: white, 96% of the picture (--invert-mask fills the black), taken as marked"),
    ):
        mask = save(f"masks/{name}.png", np.where(black, 0, 255).astype(np.uint8))
        assert found in cli("inpaint", photo, "--mask", mask, "--nfe", 1, "--overwrite").stdout
        assert not changed(tmp_path / "photo_inpainted.png", face)[~filled].any()
        for way in (("--mask-threshold", 128), ("--invert-mask",)):
            out = cli("inpaint", photo, "--mask", mask, *way, "--nfe", 1, "--overwrite").stdout
            assert "taken as marked" not in out
            known = black if way[0] == "--mask-threshold" else ~black
            assert not changed(tmp_path / "photo_inpainted.png", face)[known].any()


def test_pictures_as_masks_are_refused(cli, photo, save, face, hole, tmp_path):
    line = cli.refuses(tmp_path, "inpaint", photo, "--mask", save("masks/itself.png", face))
    assert "itself.png: is the picture itself" in line
    noise = save("masks/noise.png", np.random.default_rng(0).integers(0, 256, (48, 40), np.uint8))
    line = cli.refuses(tmp_path, "inpaint", photo, "--mask", noise)
    assert "noise.png: cannot find its marks" in line and "a mask is white strokes on black" in line
    erased = save("masks/erased.png", np.dstack([face, 255 - hole]))
    line = cli.refuses(tmp_path, "inpaint", photo, "--mask", erased)
    assert "erased.png" in line and "--mask alpha" in line


def test_inverted_soft_masks(cli, photo, save, face, soft, tmp_path):
    cli("inpaint", photo, "--mask", save("masks/m.png", 255 - soft), "--invert-mask", "--nfe", 1)
    out = changed(tmp_path / "photo_inpainted.png", face)
    assert not out[soft == 0].any()
    assert out[soft > 0].mean() > 0.9


def test_soft_erasers(cli, save, face, soft, tmp_path):
    photo = save("photo.png", np.dstack([face, 255 - soft]))
    cli("inpaint", photo, "--mask", "alpha", "--nfe", 1)
    out = changed(tmp_path / "photo_inpainted.png", face)
    assert Image.open(tmp_path / "photo_inpainted.png").mode == "RGB"
    assert not out[soft == 0].any()
    assert out[soft > 0].mean() > 0.9


def test_a_smaller_mask_covers_whatever_it_touches(cli, photo, save, face, soft, tmp_path):
    small = Image.fromarray(soft).resize((20, 24), Image.Resampling.BOX)
    cli("inpaint", photo, "--mask", save("masks/m.png", small), "--fit-mask", "--nfe", 1)
    out = changed(tmp_path / "photo_inpainted.png", face)
    assert out[soft > 2].mean() > 0.9
    assert not out[np.asarray(small).repeat(2, 0).repeat(2, 1) == 0].any()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_match_however_they_are_written(cli, save, face, hole, tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    save(f"album/{unicodedata.normalize(form, 'café/naïve')}.png", face)
    save(f"album/{unicodedata.normalize(form, 'thé/naïve')}.png", face)
    save(f"masks/{unicodedata.normalize(other, 'café/naïve')}.png", hole)
    save(f"masks/{unicodedata.normalize(other, 'thé/naïve')}.png", hole[::-1])
    result = cli("inpaint", tmp_path / "album", "-r", "--mask", tmp_path / "masks", "--nfe", 1, "--json")
    files = json.loads(result.stdout)["files"]
    assert [entry["status"] for entry in files] == ["restored", "restored"]
    for entry in files:
        mask = hole if "caf" in entry["input"] else hole[::-1]
        assert not changed(entry["output"], face)[mask == 0].any()


@pytest.mark.parametrize(
    "command",
    [("super-resolve", "--scale", "2"), ("jpeg-restore", "--input-quality", "30"), ("reconstruct",), ("interpolate",)],
)
def test_hidden_pixels_do_not_affect_the_result(cli, save, face, tmp_path, command):
    alpha = np.full((48, 40), 255, np.uint8)
    alpha[:, 25:] = 0
    made = []
    for name, colour in (("a", (0, 0, 0)), ("b", (0, 255, 0))):
        picture = np.dstack([face, alpha])
        picture[:, 25:, :3] = colour
        source = save(f"{name}/photo.png", picture)
        inputs = [source, save(f"{name}/last.png", picture[::-1])] if command[0] == "interpolate" else [source]
        out = tmp_path / name / ("strip.png" if command[0] == "interpolate" else "out.png")
        cli(command[0], *inputs, *command[1:], "--nfe", 2, "-o", out)
        made.append(pixels(out))
    visible = made[0][..., 3] > 0
    assert np.array_equal(made[0][visible], made[1][visible])


def test_hidden_pixels_beside_a_hole_stay_unchanged(cli, save, face, hole, tmp_path):
    alpha = np.full((48, 40), 255, np.uint8)
    alpha[25:40, 20:] = 0
    source = save("photo.png", np.dstack([face, alpha]))
    cli("inpaint", source, "--mask", save("masks/m.png", hole), "--nfe", 1)
    out = pixels(tmp_path / "photo_inpainted.png")
    assert np.array_equal(out[hole == 0], pixels(source)[hole == 0])


def test_a_cut_out_jpeg_is_still_one(cli, save, portrait, tmp_path):
    source = save("photo.jpg", portrait, quality=10)
    alpha = np.zeros(portrait.shape[:2], np.uint8)
    alpha[20:90, 10:110] = 255
    cut = np.dstack([pixels(source) * (alpha > 0)[..., None], alpha])
    cli("jpeg-restore", save("cut.png", cut), "--nfe", 1)
    out = pixels(tmp_path / "cut_restored.png")[..., :3]
    errors = [np.square(p.astype(float) - portrait)[alpha > 0].mean() for p in (pixels(source), out)]
    assert errors[1] < 0.9 * errors[0]


def test_one_mask_goes_with_the_recipe_to_other_processes(mask, photo):
    recipe = InpaintRecipe.create(Settings(), mask=mask)
    recipe.preload()
    sent = pickle.loads(pickle.dumps(recipe.on("cpu")))
    data = mask.read_bytes()
    mask.write_bytes(b"another one by now")
    assert sent.mask(photo).data == data
    assert sent.mask(photo).sha256 == hashlib.sha256(data).hexdigest()


def test_an_unreadable_mask_is_reported_for_each_picture(mask, photo):
    mask.write_bytes(b"")
    recipe = InpaintRecipe.create(Settings(), mask=mask)
    recipe.preload()
    with pytest.raises(RestoreError, match="the file is empty"):
        recipe.mask(photo)
