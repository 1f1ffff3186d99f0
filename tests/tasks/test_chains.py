"""Chains of tasks on images of any type: the same as on files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import bcm_restore
from bcm_restore import images, schemes, tasks
from bcm_restore.errors import NothingToRestore, RestoreError


@pytest.fixture
def old(save, face):
    return save("old.jpg", face, quality=20, dpi=(72, 72))


def on_file(path, steps, nfe=1):
    out = path.with_name("file.png")
    made = bcm_restore.restore_file("restore", path, out, steps=steps, nfe=nfe, overwrite=True)
    return made, images.read(out).pixels


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_same_as_on_a_file(save, face, hole, mode):
    image = Image.fromarray(face).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(255 - hole // 2))
    path, marks = save("photo.png", image), save("marks.png", hole)
    steps = f"jpeg input_quality=30, inpaint mask={marks} nfe=2, super-resolve x2 noise=4"
    made, wanted = on_file(path, steps)
    found = tasks.chain(steps).run(image, nfe=1)
    assert (found.image.mode, found.image.size) == (mode, (80, 96))
    assert (np.asarray(found.image.convert(image.mode.rstrip("A"))) == wanted).all()
    assert (found.nfe, found.case, found.scheme, found.remark) == (made.nfe, made.case, made.scheme, made.remark)
    assert found.nfe == 4 and found.remark.startswith("jpeg: was quality 30; ")


def test_coefficients_of_the_file(old):
    steps = "jpeg, super-resolve x2"
    _, wanted = on_file(old, steps)
    image = np.asarray(Image.open(old))
    got = tasks.chain(steps).restore(image, nfe=1, coefficients=images.jpeg_coefficients(old))
    assert (got == wanted).all()
    assert (tasks.chain(steps).restore(image, nfe=1) != wanted).any()
    held = Image.open(io.BytesIO(old.read_bytes()))
    assert (np.asarray(tasks.chain(steps).restore(held, nfe=1)) == wanted).all()


@pytest.mark.parametrize("steps", ["jpeg, inpaint mask={}, super-resolve x2", "inpaint mask={}, jpeg input_quality=20"])
def test_the_path_of_a_file_that_is_turned(save, face, hole, steps):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "holiday"
    path = save("old.jpg", face, quality=20, exif=exif)
    marks = save("marks.png", np.rot90(hole, -1))
    _, wanted = on_file(path, steps.format(marks))
    found = tasks.chain(steps.format(marks)).restore(str(path), nfe=1)
    assert found.getexif()[0x010E] == "holiday" and found.getexif().get(0x0112, 1) == 1
    assert (np.asarray(found) == wanted).all()


def test_a_mask_in_memory(face, hole):
    marks = tasks.chain([("inpaint", {"mask": hole, "nfe": 2}), ("super-resolve", {"scale": 2, "noise": 0})])
    got = marks.restore(face, nfe=1)
    clean = tasks.get("inpaint").restore(face.astype(np.uint16) * 257, mask=hole, nfe=2)
    larger = tasks.get("super-resolve").restore(clean, scale=2, noise=0, nfe=1)
    assert (got == images.as_depth(larger, np.uint8)).all()


@pytest.mark.parametrize("kind", ["uint16", "float32", "torch", "torch uint8", "grey"])
def test_the_type_is_kept(face, kind):
    chain = tasks.chain("jpeg input_quality=30, super-resolve x2 noise=0")
    wanted = chain.restore(face, nfe=1)
    planes = torch.from_numpy(face).movedim(2, 0)
    given = {
        "uint16": face.astype(np.uint16) * 257,
        "float32": np.float32(face) / 255,
        "torch": planes.float() / 255,
        "torch uint8": planes,
        "grey": face[..., 0],
    }[kind]
    got = chain.restore(given, nfe=1)
    assert (type(got), got.dtype) == (type(given), given.dtype)
    if kind == "grey":
        assert got.shape == (96, 80)
        return
    if isinstance(got, torch.Tensor):
        got = got.movedim(0, 2).numpy()
    scale = {"uint16": 1 / 257, "float32": 255, "torch": 255, "torch uint8": 1}[kind]
    assert abs(got * scale - wanted).max() <= (0 if kind == "torch uint8" else 0.51)


def test_several(face):
    chain = tasks.chain("jpeg, super-resolve x2 noise=0")
    file = io.BytesIO()
    Image.fromarray(face).save(file, "JPEG", quality=20)
    once = np.asarray(Image.open(file))
    never = np.random.default_rng(0).integers(60, 190, face.shape, np.uint8)
    several = [chain.restore(image, nfe=1) for image in (once, never)]
    assert (np.stack(chain.restore([once, never], nfe=1)) == np.stack(several)).all()
    tensor = torch.from_numpy(np.stack([once, never])).movedim(3, 1)
    assert (chain.restore(tensor, nfe=1).movedim(1, 3).numpy() == np.stack(several)).all()
    assert chain.run(never, nfe=1).remark.startswith("jpeg: skipped, nothing to restore")


def test_progress_model_and_seed(face, hole, model):
    steps = []
    chain = tasks.chain([("inpaint", {"mask": hole, "nfe": 2}), ("super-resolve", {"scale": 2, "noise": 0})])
    one = chain.run(face, nfe=1, model=model, seed=3, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2), (1, 1)]
    assert one.model == "bcm-photo"
    assert (one.image != chain.restore(face, nfe=1, seed=4)).any()


def test_nothing_and_errors(face):
    never = np.random.default_rng(0).integers(60, 190, face.shape, np.uint8)
    with pytest.raises(NothingToRestore, match="no trace of JPEG"):
        tasks.chain("jpeg").restore(never)
    with pytest.raises(NothingToRestore, match=r"nothing to restore in any step \(jpeg, jpeg\)"):
        tasks.chain("jpeg, jpeg-restore").restore(never)
    for steps, message in (
        ("jpg", "task 'jpg' is not known; did you mean 'jpeg'"),
        ("interpolate", "interpolate takes two pictures"),
        ("super-resolve kernl=box", "step 'super-resolve': there is no option 'kernl'; did you mean 'kernel'"),
        ("super-resolve x2, inpaint mask=m.png", "inpaint comes after super-resolve"),
        ("jpeg coefficients=3", "there is no option 'coefficients'"),
    ):
        with pytest.raises(RestoreError, match=message):
            tasks.chain(steps)


def test_a_step_without_schemes_of_the_chains_nfe_has_its_own(quick_noisy, monkeypatch):
    found = tasks.chain("denoise, super-resolve x2").run(quick_noisy, nfe=2, model="bcm-photo-small")
    assert found.nfe == 2 + 2
    one = {"bcm-photo-small": {"any": {1: schemes.parse("mean, fit")}}}
    monkeypatch.setattr(tasks.Denoise, "schemes", lambda task: one)
    found = tasks.chain("denoise, super-resolve x2").run(quick_noisy, nfe=2, model="bcm-photo-small")
    assert found.nfe == 1 + 2
    assert tasks.chain("denoise").run(quick_noisy, model="bcm-photo-small").nfe == 1


@pytest.fixture
def quick_noisy(portrait):
    noise = np.random.default_rng(0).normal(0, 15, portrait.shape)
    return (portrait + noise).round().clip(0, 255).astype(np.uint8)
