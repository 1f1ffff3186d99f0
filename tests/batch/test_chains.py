"""Chains of tasks on files: one output and one record, with at least 16 bits between the steps."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import contents
from PIL import Image

import bcm_restore
from bcm_restore import batch, images, tasks
from bcm_restore.batch import Observer
from bcm_restore.batch.recipes.chain import ChainRecipe
from bcm_restore.batch.settings import Settings
from bcm_restore.errors import NothingToRestore, RestoreError

TURNED = 6


@pytest.fixture
def never(save) -> Path:
    """A picture that never was a JPEG."""
    return save("never.png", np.random.default_rng(0).integers(60, 190, (48, 40, 3), np.uint8))


@pytest.fixture
def old(save, face) -> Path:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = TURNED, "holiday"
    return save("old.jpg", face, quality=20, exif=exif, dpi=(72, 72))


def pixels(path):
    return images.read(path).pixels


def restored(path, steps, out, **options):
    return bcm_restore.restore_file("restore", path, out, steps=steps, **options)


def refusal(path, steps, **options):
    with pytest.raises(RestoreError) as refused:
        bcm_restore.restore_file("restore", path, steps=steps, **options)
    return str(refused.value)


def cases(save, face, hole):
    """Pictures of every kind, with the options of a command and the step that does the same."""
    exif = Image.Exif()
    exif[0x0112] = TURNED
    deep = save("deep.tif", Image.fromarray(face[..., 0].astype(np.uint16) * 211))
    clear = save("clear.png", np.dstack([face, np.where(hole, 0, 255 - hole // 2)]))
    soft = save("soft.png", np.dstack([face, 255 - hole // 2]))
    marks = save("marks.png", hole)
    return {
        "jpeg": (save("turned.jpg", face, quality=20, exif=exif), "jpeg", {}, "jpeg"),
        "grey": (save("grey.jpg", face[..., 0], quality=20), "jpeg", {}, "jpeg-restore"),
        "cmyk": (save("cmyk.jpg", Image.fromarray(face).convert("CMYK"), quality=20), "jpeg", {}, "jpeg"),
        "once": (soft, "jpeg", {"input_quality": 40}, "jpeg input-quality=40"),
        "mask": (clear, "inpaint", {"mask": marks, "grow": 1}, f"inpaint mask='{marks}' grow=1"),
        "alpha": (clear, "inpaint", {"mask": "alpha"}, "inpaint mask=alpha"),
        "deep": (deep, "super-resolve", {"scale": 2}, "super-resolve x2"),
        "large": (
            save("jp.jpg", face, quality=30),
            "super-resolve",
            {"scale": 3, "noise": 6},
            "super-resolve x3 noise=6",
        ),
    }


@pytest.mark.parametrize("case", ["jpeg", "grey", "cmyk", "once", "mask", "alpha", "deep", "large"])
def test_one_step_is_the_command(case, save, face, hole, tmp_path):
    path, task, options, step = cases(save, face, hole)[case]
    one = bcm_restore.restore_file(task, path, tmp_path / "one.png", nfe=1, **options)
    two = restored(path, step, tmp_path / "two.png", nfe=1)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (two.nfe, two.case, two.scheme) == (one.nfe, one.case, f"{task}: {one.scheme}")
    assert two.remark == (f"{task}: {one.remark}" if one.remark else None)


def test_steps_are_the_commands_one_after_the_other(save, face, hole, tmp_path):
    """On 16 bits, where the files in between round as the chain does."""
    marks = save("marks.png", hole)
    noisy = face.astype(np.uint16) * 200 + np.random.default_rng(0).integers(0, 3000, face.shape, np.uint16)
    picture = images.Picture(noisy, alpha=np.where(hole, 65535, 40000).astype(np.uint16))
    images.write(picture, photo := tmp_path / "photo.png")
    bcm_restore.restore_file("inpaint", photo, tmp_path / "1.png", mask=marks, nfe=2)
    bcm_restore.restore_file("super-resolve", tmp_path / "1.png", tmp_path / "2.png", scale=2, noise=3, nfe=1)
    found = restored(photo, f"inpaint mask={marks} nfe=2, super-resolve x2 noise=3", tmp_path / "chain.png", nfe=1)
    assert (found.nfe, found.size) == (3, (80, 96))
    assert (tmp_path / "chain.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    assert found.remark == "super-resolve: given noise of standard deviation 3 of 255, removed first"


def test_nothing_is_rounded_to_eight_bits(old, tmp_path):
    """Floats are not rounded at all: the chain differs from them by much less than pictures of 8 bits."""
    stored, coefficients = np.asarray(Image.open(old)), images.jpeg_coefficients(old)

    def by_hand(image):
        clean = tasks.get("jpeg").restore(image, coefficients=coefficients, nfe=1)
        return tasks.get("super-resolve").restore(np.rot90(clean, -1), scale=2, nfe=1)

    exact, rough = by_hand(np.float32(stored) / 255), by_hand(stored)
    found = restored(old, "jpeg, super-resolve x2", tmp_path / "chain.png", nfe=1)
    assert (found.status, found.nfe) == ("restored", 2)
    assert abs(pixels(tmp_path / "chain.png") - exact * 255).max() < 0.52
    assert (abs(rough - exact * 255) > 0.6).any()


def test_metadata_and_orientation(old, tmp_path):
    restored(old, "jpeg, super-resolve x2", tmp_path / "new.png", nfe=1)
    new = Image.open(tmp_path / "new.png")
    assert new.size == (96, 80)  # 40x48, turned
    assert new.getexif()[0x010E] == "holiday" and new.getexif().get(0x0112, 1) == 1
    assert round(new.info["dpi"][0]) == 72


def test_a_mask_marks_the_picture_as_it_was_and_upright(old, hole, save, tmp_path):
    """Strokes on a copy of the picture, from which the first step has taken its artefacts."""
    copy = images.read(old).pixels.copy()
    strokes = np.rot90(hole, -1) > 0
    copy[strokes] = (255, 0, 0)
    painted = save("painted.png", copy)
    plain = save("plain.png", (strokes * 255).astype(np.uint8))
    for name, mask in (("a", painted), ("b", plain)):
        restored(old, f"jpeg, inpaint mask={mask}", tmp_path / f"{name}.png", nfe=1)
    assert (pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")).all()
    bcm_restore.restore_file("jpeg", old, tmp_path / "c.png", nfe=1)
    changed = (pixels(tmp_path / "c.png") != pixels(tmp_path / "a.png")).any(2)
    assert changed.any() and not changed[~strokes].any()


def test_steps_with_nothing_to_restore_are_skipped(never, old, hole, save, tmp_path):
    found = restored(never, "jpeg, super-resolve x2 noise=0", tmp_path / "a.png", nfe=1)
    assert (found.status, found.nfe, found.size) == ("restored", 1, (80, 96))
    alone = bcm_restore.restore_file("super-resolve", never, tmp_path / "b.png", scale=2, noise=0, nfe=1)
    assert found.remark == f"jpeg: skipped, nothing to restore; super-resolve: {alone.remark}"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    empty = save("empty.png", np.zeros((40, 48), np.uint8))
    found = restored(old, f"inpaint mask={empty}, jpeg", tmp_path / "c.png", nfe=1)
    assert found.remark == "inpaint: skipped, its mask is empty"
    bcm_restore.restore_file("jpeg", old, tmp_path / "d.png", nfe=1)  # from the file's coefficients
    assert (tmp_path / "c.png").read_bytes() == (tmp_path / "d.png").read_bytes()


def test_nothing_to_restore_in_any_step(never, save, tmp_path):
    with pytest.raises(NothingToRestore, match=r"never.png: no trace of JPEG"):
        restored(never, "jpeg", tmp_path / "out.png", nfe=1)
    with pytest.raises(NothingToRestore, match=r"never.png: nothing to restore in any step \(jpeg, jpeg\)"):
        restored(never, "jpeg, jpeg", tmp_path / "out.png", nfe=1)
    empty = save("empty.png", np.zeros((48, 40), np.uint8))
    found = restored(never, f"jpeg, inpaint mask={empty}", tmp_path / "out.png", nfe=1)
    assert (found.status, found.nfe) == ("copied", None)
    assert found.remark == "copied: jpeg: skipped, nothing to restore; inpaint: skipped, its mask is empty"
    assert (pixels(tmp_path / "out.png") == pixels(never)).all()


def test_a_folder_resumes_and_recomputes(save, face, never, hole, tmp_path):
    for n in range(2):
        save(f"album/{n}.jpg", np.roll(face, 3 * n, 0), quality=30)
        save(f"masks/{n}.png", hole)
    (tmp_path / "album" / "never.png").write_bytes(never.read_bytes())

    def statuses(steps, **options):
        outcomes = list(batch.restore("restore", tmp_path / "album", steps=steps, nfe=1, **options))
        return [str(outcome.status) for outcome in outcomes]

    assert statuses("jpeg") == ["restored", "restored", "skipped"]
    assert statuses([("jpeg-restore", {})]) == ["kept", "kept", "skipped"]
    masked = f"jpeg, inpaint mask={tmp_path / 'masks'}"
    assert statuses(masked, dry_run=True) == ["redo", "redo", "failed"]
    assert statuses(masked) == ["restored", "restored", "failed"]
    save("masks/1.png", np.roll(hole, 2, 0))
    save("masks/never.png", hole)
    assert statuses(masked) == ["kept", "restored", "restored"]
    assert statuses(f"{masked}, super-resolve x2", compare=True) == ["restored"] * 3
    written = {path.name for path in (tmp_path / "album_restored").glob("*.png")}
    assert written == {f"{stem}{end}.png" for stem in ("0", "1", "never") for end in ("", "_compare")}
    lines = (tmp_path / "album_restored" / ".bcm-restore.jsonl").read_text().splitlines()
    last = [json.loads(line) for line in lines][-3:]
    assert [(one["task"], one["nfe"], one["case"]) for one in last] == [
        ("restore", 3, "any, thin, x2"),
        ("restore", 3, "any, thin, x2"),
        ("restore", 2, "thin, x2"),
    ]


def test_outputs_of_jpeg_restore_are_not_the_chains_own(save, face, tmp_path):
    save("album/a.jpg", face, quality=30)
    album = tmp_path / "album"
    list(batch.restore("jpeg", album, nfe=1))
    before = contents(tmp_path)
    with pytest.raises(RestoreError, match=r"a.png exists; use --overwrite"):
        batch.restore("restore", album, steps="jpeg, super-resolve x2", nfe=1)
    assert contents(tmp_path) == before
    [again] = batch.restore("restore", album, steps="jpeg", nfe=1, overwrite=True)
    assert again.status == "restored"
    with pytest.raises(RestoreError, match=r"a.png exists; use --overwrite"):
        batch.restore("jpeg", album, nfe=1)


def test_pages(save, face, tmp_path):
    pages = [Image.fromarray(np.roll(face, n, 0)) for n in range(2)]
    path = save("pages.tif", pages[0], save_all=True, append_images=pages[1:])
    found = restored(path, "jpeg input-quality=50, super-resolve x2 noise=0", tmp_path / "out.tiff", nfe=1)
    assert (found.pages, found.size, found.nfe) == (2, (80, 96), 2)
    with Image.open(tmp_path / "out.tiff") as out:
        for n, page in enumerate(pages):
            out.seek(n)
            own = save(f"page{n}.png", page)
            restored(own, "jpeg input-quality=50, super-resolve x2 noise=0", tmp_path / f"{n}.out.png", nfe=1)
            assert (np.asarray(out) == pixels(tmp_path / f"{n}.out.png")).all()


def test_pictures_that_are_restored_together(save, face, never, tmp_path):
    """As on a GPU; one of them is skipped in the first step."""
    recipe = ChainRecipe.create(Settings(nfe=1), steps="jpeg, super-resolve x2 noise=0")
    recipe = pickle.loads(pickle.dumps(recipe.on("cpu")))
    paths = [save("a.jpg", face, quality=30), never, save("b.jpg", face[::-1], quality=30)]
    loaded = [recipe.read(path, path.read_bytes(), None) for path in paths]
    assert len({recipe.alike(one) for one in loaded}) == 1
    results = recipe.restore(loaded, Observer())
    for path, result in zip(paths, results, strict=True):
        restored(path, "jpeg, super-resolve x2 noise=0", tmp_path / "alone.png", nfe=1, overwrite=True)
        assert (result.after.pixels == pixels(tmp_path / "alone.png")).all()
    assert [result.restoration.nfe for result in results] == [2, 1, 2]


def test_errors_before_any_picture_is_read(photo, tmp_path):
    assert "task 'jpg' is not known; did you mean 'jpeg'" in refusal(photo, "jpg, super-resolve x2")
    assert "scale 5 is not supported" in refusal(photo, "super-resolve x5")
    assert "jpeg has no default scheme with NFE 5" in refusal(photo, "jpeg nfe=5")
    assert "interpolate takes two pictures" in refusal(photo, "interpolate")
    assert "task 'reconstruct' is not known" in refusal(photo, "reconstruct")
    assert "inpaint needs a mask: give mask=FILE" in refusal(photo, "inpaint")
    assert "inpaint comes after super-resolve" in refusal(photo, "super-resolve x2, inpaint mask=alpha")
    assert "a scheme belongs to one task" in refusal(photo, "jpeg", scheme="to 0")
    assert "restore needs steps" in refusal(photo, None)
    assert not list(tmp_path.glob("*_restored*"))


def test_the_command(cli, old, photo, hole, save, tmp_path):
    said = cli("restore", old, "--steps", "jpeg nfe=2, super-resolve x2", "--nfe", 1).stdout
    assert f"{old} -> {tmp_path / 'old_restored.png'} (96x80, NFE 3" in said
    python = restored(old, "jpeg nfe=2, super-resolve x2", tmp_path / "python.png", nfe=1)
    assert (tmp_path / "old_restored.png").read_bytes() == (tmp_path / "python.png").read_bytes()
    document = json.loads(
        cli("restore", old, "--steps", "jpeg nfe=2, super-resolve x2", "--nfe", 1, "--json", "--overwrite").stdout
    )
    assert document["task"] == "restore"
    assert {name: document["files"][0][name] for name in ("nfe", "case", "scheme")} == {
        "nfe": 3,
        "case": "any, x2",
        "scheme": python.scheme,
    }
    steps = ("--steps", "jpeg nfe=2", "--steps", "super-resolve x2")
    cli("restore", old, *steps, "--nfe", 1, "-o", tmp_path / "twice.png")
    assert (tmp_path / "twice.png").read_bytes() == (tmp_path / "python.png").read_bytes()
    assert "did you mean 'noise'" in cli.refuses(tmp_path, "restore", photo, "--steps", "super-resolve nois=5")
    assert "--steps" in cli.refuses(tmp_path, "restore", photo)
    assert "--scheme" in cli.refuses(tmp_path, "restore", photo, "--steps", "jpeg", "--scheme", "to 0")
    marks = save("marks.png", hole)
    command = ("restore", old, "--steps", f"inpaint mask={marks}", "-o", tmp_path / "fitted.png")
    assert "the mask is 40x48" in cli.refuses(tmp_path, *command)
    cli("restore", old, "--steps", f"inpaint mask={marks} --fit-mask", "--nfe", 1, "-o", tmp_path / "fitted.png")
