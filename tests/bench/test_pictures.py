"""Clean and damaged pictures of the bench."""

import hashlib

import numpy as np
import pytest
import skimage.data
import torch
from helpers.data import FURTHER_NAMES, INPAINT, noise, of, rng
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import images, tasks
from bcm_restore.bench import pictures
from bcm_restore.bench.cases import CASES, cases
from bcm_restore.bench.pictures import Suite, adm_crop, load, rgb
from bcm_restore.errors import RestoreError
from bcm_restore.operators.resize import resampling
from bcm_restore.simulation.degradations import downscaled

# Clean pictures


def test_adm_crop_halves_and_crops_the_centre():
    small = noise(64, 150)
    large = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)
    assert np.array_equal(adm_crop(large, 64), small[:, 43:107])


@pytest.mark.parametrize(("height", "width", "size"), [(100, 150, 64), (151, 90, 64), (200, 255, 128), (20, 30, 64)])
def test_adm_crop_scales_the_shorter_side(height, width, size):
    """The shorter side is below twice the size, so only the bicubic filter is used, here that of our own operator."""
    pixels = 60 + noise(height, width) // 2  # nothing is clipped between the axes
    new = [round(side * size / min(height, width)) for side in (height, width)]
    rows, columns = (resampling(old, side) for old, side in zip((height, width), new, strict=True))
    planes = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
    expected = rows(columns(planes.mT).mT).permute(1, 2, 0).numpy()
    top, left = ((side - size) // 2 for side in new)
    crop = adm_crop(pixels, size)
    assert (crop.shape, crop.dtype) == ((size, size, 3), np.uint8)
    assert np.abs(crop - expected[top : top + size, left : left + size]).max() <= 2  # rounded after each axis


@pytest.mark.slow
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([64, 256]))
@settings(deadline=None, max_examples=30)
def test_adm_crop_of_any_size_is_a_square(height, width, size):
    assert adm_crop(np.full((height, width, 3), 7, np.uint8), size).tolist() == np.full((size, size, 3), 7).tolist()


def test_pictures_from_scikit_image():
    found = load()
    assert (found.name, found.size) == ("scikit-image", None)
    assert [clean.name for clean in found.clean] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert np.array_equal(found.clean[1].read(), skimage.data.chelsea())
    cropped = load(size=64, limit=2)
    assert [clean.name for clean in cropped.clean] == ["astronaut", "chelsea"]
    assert np.array_equal(cropped.clean[1].read(), adm_crop(skimage.data.chelsea(), 64))


def test_all_kinds_of_pictures_become_rgb(save, tmp_path):
    colour = noise(64, 70)
    save("set/d.png", colour)
    save("set/c.png", colour[..., 0])
    save("set/b.png", np.dstack([colour, colour[..., 0]]))
    save("set/a.png", colour[..., 1].astype(np.uint16) * 257)
    save("set/.hidden.png", colour)
    (tmp_path / "set/notes.txt").write_text("no picture")
    (tmp_path / "set/folder.png").mkdir()
    found = load(tmp_path / "set")
    assert (found.name, [clean.name for clean in found.clean]) == ("set", ["a", "b", "c", "d"])
    read = [clean.read() for clean in found.clean]
    grey = [np.repeat(colour[..., n, None], 3, axis=2) for n in (1, 0)]
    for pixels, expected in zip(read, [grey[0], colour, grey[1], colour], strict=True):
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert np.array_equal(pixels, expected)
    assert [clean.name for clean in load(tmp_path / "set", limit=3).clean] == ["a", "b", "c"]


def test_orientation_is_applied(save, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save("set/a.png", noise(64, 80), exif=exif)
    assert np.array_equal(load(tmp_path / "set").clean[0].read(), np.rot90(noise(64, 80), -1))


def test_16_bits_are_rounded_to_the_nearest_8_bit_value():
    deep = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    assert rgb(deep)[0, :, 0].tolist() == [0, 0, 1, 1, 255]


def test_files_are_read_on_demand(save, tmp_path, monkeypatch):
    for name in "abc":
        save(f"set/{name}.png", noise(64, 64, ord(name)))
    asked, read = [], images.read
    monkeypatch.setattr(images, "read", lambda path, **options: asked.append(path.name) or read(path, **options))
    suite = Suite(load(tmp_path / "set"), cases("jpeg", ["quality-20"]))
    samples = suite.samples(suite.cases[0])
    assert asked == []
    next(samples)
    assert asked[0] == "a.png"
    assert "b.png" not in asked


def test_missing_and_empty_folders_raise_an_error(tmp_path, save):
    file = save("a.png", noise(64, 64))
    (tmp_path / "empty").mkdir()
    for folder, reason in [
        (tmp_path / "nowhere", "no such file or directory; give a folder of clean pictures"),
        (file, "not a directory; give a folder of clean pictures"),
        (tmp_path / "empty", "no pictures in this folder; give a folder of clean pictures"),
    ]:
        with pytest.raises(RestoreError) as error:
            load(folder)
        assert str(error.value) == f"{folder}: {reason}"


def test_two_pictures_with_the_same_name(save, tmp_path):
    save("set/a.png", noise(64, 64))
    save("set/a.k.png", noise(64, 64))
    save("set/a.jpg", noise(64, 64))
    with pytest.raises(RestoreError) as error:
        load(tmp_path / "set")
    assert str(error.value) == f"{tmp_path}/set/a.jpg and a.png have the same name; rename one of them"


def test_unusable_pictures_are_named_in_the_error(save, tmp_path):
    save("set/a.png", noise(64, 64))
    small = save("set/b.png", noise(63, 100))
    suite = Suite(load(tmp_path / "set"), cases("inpaint"))
    with pytest.raises(RestoreError) as error:
        suite.shapes(suite.cases[0])
    assert str(error.value) == (
        f"{small}: 100x63, but each side must be 64 or more; scale all pictures with --size 64 or 256, or remove it"
    )
    assert load(tmp_path / "set", 64).clean[1].read().shape == (64, 64, 3)
    small.write_bytes(b"no picture")
    with pytest.raises(RestoreError, match=f"^{small}: not a readable picture"):
        load(tmp_path / "set", 64).clean[1].read()
    with pytest.raises(RestoreError, match=r"^--size 63: too small for the bench's degradations; give 64 or more$"):
        load(tmp_path / "set", 63)


# The suite


@pytest.mark.parametrize(("task", "chosen"), [*((task, ()) for task in CASES), *FURTHER_NAMES.items()])
def test_shapes_are_those_of_the_samples(task, chosen):
    suite = Suite(of(a=noise(65, 90), b=noise(71, 64), c=noise(64, 64)), cases(task, chosen))
    for case in suite.cases:
        shapes, samples = suite.shapes(case), list(suite.samples(case))
        assert [shape.name for shape in shapes] == [sample.name for sample in samples] == suite.names
        for shape, sample in zip(shapes, samples, strict=True):
            height, width = sample.example.clean.shape[:2]
            frames = width // 2 * sample.example.inputs["frames"] if task == "interpolate" else width
            assert shape.size == (height, frames)
            assert height % case.multiple == width % case.multiple == 0
            assert sample.example.clean.dtype == sample.example.damaged.dtype == np.uint8


@pytest.mark.parametrize("name", INPAINT)
def test_unknown_pixels_are_black_and_known_pixels_unchanged(name):
    picture = np.maximum(noise(80, 100), 1)
    suite = Suite(of(a=picture), cases("inpaint", [name]))
    made = suite.sample(suite.cases[0], "a").example
    assert np.array_equal(made.inputs["mask"], made.where)
    assert (made.damaged[made.where] == 0).all()
    assert np.array_equal(made.damaged[~made.where], picture[~made.where])
    assert np.array_equal(made.clean, picture)


def test_degradation_depends_only_on_seed_case_and_picture():
    a, b = noise(64, 64, 1), noise(64, 64, 2)

    def mask(case, name, chosen=(), seed=0, **arrays):
        suite = Suite(of(**arrays), cases("inpaint", chosen), seed)
        case = next(one for one in suite.cases if one.name == case)
        return suite.sample(case, name).example.where

    alone = mask("random-80", "a", ["random-80"], a=a)
    assert np.array_equal(alone, mask("random-80", "a", b=b, a=a))
    suite = Suite(of(b=b, a=a), cases("inpaint"))
    assert np.array_equal(alone, list(suite.samples(suite.cases[4]))[1].example.where)
    assert not np.array_equal(alone, mask("random-80", "a", seed=1, a=a))
    assert not np.array_equal(alone, mask("random-80", "b", b=a))
    # the generator's seed is the seed and checksums of the names, which do not depend on the version of Python
    words = [0, 0xBF0CB38A, 0xE8B7BE43]  # CRC-32 of "random-80" and "a"
    assert np.array_equal(alone, np.random.default_rng(words).random((64, 64)) >= 0.2)
    free = [mask(name, "a", a=a) for name in ("freeform-10-20", "freeform-20-30")]
    assert (free[0] & ~free[1]).any()  # neither starts with the other


def test_pictures_are_recorded(save, tmp_path):
    one, two = noise(64, 70), noise(66, 64, 1)
    save("set/b.png", two)
    save("set/a.png", one)
    suite = Suite(load(tmp_path / "set"), cases("super-resolve"))
    digests = [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in (one, two)]
    assert suite.data() == {
        "name": "set",
        "size": "native",
        "pictures": [
            {"name": "a", "width": 70, "height": 64, "sha256": digests[0]},
            {"name": "b", "width": 64, "height": 66, "sha256": digests[1]},
        ],
    }
    assert Suite(load(tmp_path / "set", 64), cases("jpeg")).data()["size"] == "64"


def test_pictures_are_read_once_for_their_records(save, tmp_path, monkeypatch):
    save("set/a.png", noise(64, 64))
    suite = Suite(load(tmp_path / "set"), cases("inpaint"))
    suite.data()
    monkeypatch.setattr(pictures, "_record", None)
    assert [shape.size for case in suite.cases for shape in suite.shapes(case)] == [(64, 64)] * len(INPAINT)


def test_pairs_are_consecutive_pictures():
    a, b, c = noise(64, 80, 1), noise(70, 66, 2), noise(64, 80, 3)
    suite = Suite(of(a=a, b=b, c=c), cases("interpolate"))
    assert suite.names == ["a_to_b", "b_to_c", "c_to_a"]
    samples = [sample.example for sample in suite.samples(suite.cases[0])]
    resized = np.asarray(Image.fromarray(b).resize((80, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(samples[0].damaged, [a, resized])
    assert np.array_equal(samples[2].damaged, [c, a])
    assert samples[1].damaged.shape == (2, 70, 66, 3)
    for made in samples:
        assert np.array_equal(made.clean, np.hstack(made.damaged))
        assert (made.inputs, made.where) == ({"frames": 9}, None)
    assert [record.name for record in suite.records] == ["a", "b", "c"]


def test_interpolation_needs_two_pictures():
    with pytest.raises(RestoreError) as error:
        Suite(of(only=noise(64, 64)), cases("interpolate"))
    assert str(error.value) == "interpolate needs two pictures, and there is only only; give another"


# Pooling


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_pooling_averages_blocks(scale):
    made = downscaled(scale, "box")(noise(64, 83), rng())
    blocks = noise(64, 83)[:, : 83 // scale * scale].reshape(64 // scale, scale, -1, scale, 3)
    assert np.array_equal(made.damaged, np.floor(blocks.mean((1, 3)) + 0.5))
    assert made.inputs == {"scale": scale, "kernel": "box"}


def test_a_pooled_picture_is_restored_with_the_box_kernel(face, model):
    made, task = downscaled(4, "box")(face, rng()), tasks.get("super-resolve")
    results = {
        kernel: task.restore(made.damaged, scale=4, kernel=kernel, nfe=2, model=model) for kernel in ("box", "bicubic")
    }
    errors = {
        kernel: np.abs(downscaled(4, "box")(result, rng()).damaged.astype(int) - made.damaged).max()
        for kernel, result in results.items()
    }
    assert errors["box"] <= 1  # both pictures are rounded
    assert errors["bicubic"] > 5
    assert np.array_equal(task.restore(made.damaged, **made.inputs, nfe=2, model=model), results["box"])


def test_the_first_estimate_is_consistent_with_its_kernel():
    y = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = tasks.get("super-resolve").problem(y, scale=2, kernel="box")
    assert torch.allclose(torch.nn.functional.avg_pool2d(problem.x, 2), y, atol=1e-5)
    with pytest.raises(RestoreError, match="no resampling filter 'mean'"):
        tasks.get("super-resolve").problem(y, scale=2, kernel="mean")
