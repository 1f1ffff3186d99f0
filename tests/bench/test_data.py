"""The data of the bench: masks, cases, clean and damaged pictures, and their export."""

import hashlib
import io
import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from helpers.runs import contents
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import images, tasks
from bcm_restore.bench import pictures
from bcm_restore.bench.cases import CASES, FURTHER, cases
from bcm_restore.bench.export import export
from bcm_restore.bench.pictures import Clean, Pictures, Suite, adm_crop, load, rgb
from bcm_restore.errors import RestoreError
from bcm_restore.masks import read as read_mask
from bcm_restore.operators.resize import resampling
from bcm_restore.simulation import masks
from bcm_restore.simulation.degradations import downscaled

INPAINT = ["box", "random-boxes", "freeform-10-20", "freeform-20-30", "random-80", "text", "half"]
RANDOM = INPAINT[1:6]
FURTHER_NAMES = {
    "inpaint": ["thin-strokes", "random-50", "box-noise-5"],
    "jpeg": ["quality-3", "quality-60"],
    "super-resolve": ["x3", "x4-noise-5", "x4-jpeg-60"],
}


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(height, width, seed=0):
    return rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def of(**arrays):
    return Pictures("mine", None, [Clean(name, lambda pixels=pixels: pixels) for name, pixels in arrays.items()])


# Masks


def test_masks_have_the_order_of_papers():
    assert list(masks.MASKS) == INPAINT


@pytest.mark.parametrize("name", INPAINT)
@pytest.mark.parametrize("size", [(64, 64), (65, 67), (64, 300), (300, 64)])
def test_a_mask_depends_only_on_the_generator_and_keeps_pixels(name, size):
    mask = masks.MASKS[name](rng(), size)
    assert (mask.shape, mask.dtype) == (size, bool)
    assert 0 < mask.sum() < mask.size
    assert np.array_equal(mask, masks.MASKS[name](rng(), size))
    assert np.array_equal(mask, masks.MASKS[name](rng(1), size)) == (name not in RANDOM)


@pytest.mark.parametrize("name", INPAINT)
def test_masks_of_large_pictures(name):
    size = (4000, 2000)
    mask = masks.MASKS[name](rng(), size)
    assert mask.shape == size
    quarters = [mask[:2000, :1000], mask[2000:, :1000], mask[:2000, 1000:], mask[2000:, 1000:]]
    if name not in ("half", "freeform-10-20", "freeform-20-30"):
        assert all(quarter.any() for quarter in quarters)


def test_box_is_centred_with_half_the_sides():
    ys, xs = np.nonzero(masks.box(rng(), (256, 256)))
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (64, 191, 64, 191)
    assert masks.box(rng(), (256, 256)).sum() == 128 * 128
    assert masks.box(rng(), (101, 66)).sum() == 50 * 33


def test_half_is_the_right_half():
    assert np.array_equal(np.nonzero(masks.half(rng(), (64, 101)).all(axis=0))[0], np.arange(50, 101))


@settings(deadline=None)
@given(st.tuples(st.integers(64, 300), st.integers(64, 300)), st.integers(0, 2**32), st.sampled_from([10, 20]))
@example((64, 4000), 0, 10)
@example((4000, 64), 0, 20)
@example((1800, 4000), 1, 10)
def test_freeform_masks_cover_the_share_in_their_name(size, seed, low):
    mask = masks.MASKS[f"freeform-{low}-{low + 10}"](rng(seed), size)
    assert mask.shape == size
    assert low <= 100 * mask.mean() <= low + 10


@pytest.mark.parametrize("side", [64, 65, 72, 100, 256, 1000])
def test_no_segment_of_a_stroke_exceeds_the_range(side):
    """`freeform` relies on this: the longest and widest segment covers less than 0.1 of a square."""
    for angle in np.linspace(0, np.pi / 2, 50):
        canvas = np.zeros((2 * side, 2 * side), np.uint8)
        first, last = (side // 2 + round(0.35 * side * way) for way in (0, np.cos(angle)))
        cv2.line(canvas, (first, first), (last, first + round(0.35 * side * np.sin(angle))), 1, round(side * 40 / 256))
        assert canvas.sum() < 0.1 * side**2


def test_strokes_stay_within_their_limits():
    segments = masks._segments(rng(), (256, 512))
    drawn = [next(segments) for _ in range(2000)]
    widths = [width for *_, width in drawn]
    assert (min(widths), max(widths)) == (12, 40)
    assert all(0 <= x < 512 and 0 <= y < 256 for ends in drawn for x, y in ends[:2])
    lengths = [np.hypot(*np.subtract(start, end)) for start, end, _ in drawn]
    assert 0.3 * 256 < max(lengths) < 0.35 * 256 + 2
    joined = [a[1] == b[0] and a[2] == b[2] for a, b in pairwise(drawn)]
    assert 4 <= len(drawn) / joined.count(False) <= 12  # segments per stroke


@pytest.mark.parametrize("size", [(64, 64), (120, 640), (30, 880)])
def test_text_masks_of_recorded_benchmarks_are_unchanged(size):
    words = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"
    generator, drawn = rng(3), np.zeros(size, np.uint8)
    for y in range(14, size[0], 21):
        cv2.putText(drawn, words, (int(generator.integers(-60, 20)), y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    assert np.array_equal(masks.text(rng(3), size), drawn > 0)


@pytest.mark.parametrize("width", [64, 881, 940, 1760, 4000])
def test_text_spans_the_width(width):
    assert masks.text(rng(), (100, width))[:, -60:].any()


def test_boxes_and_random_pixels_of_recorded_benchmarks_are_unchanged():
    boxes = np.zeros((200, 300), bool)
    for y, x in ((109, 210), (11, 211), (79, 137)):
        boxes[y : y + 32, x : x + 32] = True
    assert np.array_equal(masks.boxes(rng(5), (200, 300)), boxes)
    assert np.packbits(masks.random_80(rng(5), (4, 8))).tolist() == [246, 127, 238, 250]


def test_a_given_mask_is_resized_by_nearest_neighbour():
    mask = np.zeros((2, 4), bool)
    mask[0, 1] = True
    make = masks.fixed(mask)
    assert np.array_equal(make(rng(), (2, 4)), mask)
    assert np.array_equal(make(rng(), (6, 12)), np.kron(mask, np.ones((3, 3), bool)))
    dot = np.zeros((64, 64), bool)
    dot[0, 0] = True
    with pytest.raises(RestoreError, match=r"^--mask: marks no pixel at 4x2; make it white where .* black elsewhere$"):
        masks.fixed(dot)(rng(), (2, 4))


@pytest.mark.parametrize(
    ("mask", "what"), [(np.zeros((3, 5), bool), "no pixel"), (np.ones((3, 5), bool), "every pixel")]
)
def test_an_empty_or_full_mask_raises_an_error(mask, what):
    with pytest.raises(RestoreError, match=f"^--mask: marks {what} at 5x3; "):
        cases("inpaint", mask=mask)


# Cases


def test_cases_of_each_task():
    names = {task: [case.name for case in cases(task)] for task in CASES}
    assert names == {
        "inpaint": INPAINT,
        "jpeg": ["quality-5", "quality-10", "quality-20", "quality-40"],
        "super-resolve": ["x2", "x4", "x8", "x2-pool", "x4-pool", "x8-pool"],
        "denoise": ["sigma-10", "sigma-15", "sigma-25", "sigma-50", "sensor"],
        "colorize": ["luma"],
        "deblur": ["gaussian-1.6", "gaussian-2.5", "motion", "disk-3"],
        "interpolate": ["pairs"],
    }
    assert [case.multiple for case in cases("super-resolve")] == [2, 4, 8, 2, 4, 8]
    assert {case.multiple for task in ("inpaint", "jpeg", "interpolate") for case in cases(task)} == {1}
    assert all(case.task == task for task in CASES for case in cases(task))
    assert set(CASES) == set(tasks.names())


def test_further_cases_are_run_only_if_chosen():
    assert {task: [case.name for case in of_task] for task, of_task in FURTHER.items()} == FURTHER_NAMES
    for task, names in FURTHER_NAMES.items():
        assert [case.name for case in cases(task, names)] == names
    assert [case.name for case in cases("jpeg", ["quality-60", "quality-5"])] == ["quality-5", "quality-60"]
    assert [case.multiple for case in cases("super-resolve", FURTHER_NAMES["super-resolve"])] == [3, 4, 4]


@pytest.mark.parametrize("side", [256, 400])
def test_masks_of_further_cases(side):
    thin, half = (masks.FURTHER_MASKS[name](rng(), (256, side)) for name in ("thin-strokes", "random-50"))
    wide = masks.MASKS["freeform-10-20"](rng(), (256, side))
    assert 0.05 <= thin.mean() <= 0.15
    assert half.mean() == pytest.approx(0.5, abs=0.03)
    # strokes are 5 of 256 pixels wide at most, but cross; those of the default masks are 12 or more
    left = [cv2.erode(mask.astype(np.uint8), np.ones((7, 7))).sum() / mask.sum() for mask in (thin, wide)]
    assert left[0] < 0.1 < 0.4 < left[1]


def test_noise_is_added_to_the_known_pixels_and_not_passed_on():
    clean = np.full((96, 96, 3), 128, np.uint8)
    hole = Suite(of(a=clean), cases("inpaint", ["box-noise-5"])).sample(cases("inpaint", ["box-noise-5"])[0], "a")
    known = ~hole.example.where
    assert np.array_equal(hole.example.where, masks.box(rng(), (96, 96)))
    assert not hole.example.damaged[~known].any()
    assert hole.example.damaged[known].std() == pytest.approx(5, rel=0.05)
    [case] = cases("super-resolve", ["x4-noise-5"])
    small = case.degrade(clean, rng())
    assert small.damaged.shape == (24, 24, 3)
    assert small.damaged.std() == pytest.approx(5, rel=0.1)
    assert small.inputs == {"scale": 4, "kernel": "bicubic"}


def test_a_small_jpeg_is_the_compressed_small_picture():
    clean = noise(80, 97)
    [case] = cases("super-resolve", ["x4-jpeg-60"])
    example = Suite(of(a=clean), [case]).sample(case, "a").example
    assert np.array_equal(example.clean, clean[:, :96])
    small = Image.fromarray(clean[:, :96]).resize((24, 20), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=60)
    assert example.data == file.getvalue()
    assert np.array_equal(example.damaged, np.asarray(Image.open(file)))
    assert example.inputs["scale"] == 4 and example.inputs["coefficients"].size == (20, 24)


def test_selected_cases_keep_the_order():
    assert [case.name for case in cases("inpaint", ["half", "box", "half"])] == ["box", "half"]
    mask = np.eye(8, dtype=bool)
    assert [case.name for case in cases("inpaint", mask=mask)] == [*INPAINT, "mask"]
    own = cases("inpaint", ["mask"], mask)
    assert [case.name for case in own] == ["mask"]
    sample = Suite(of(a=noise(64, 64)), own).sample(own[0], "a")
    assert np.array_equal(sample.example.where, np.kron(mask, np.ones((8, 8), bool)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("blur",), "--task blur: not a task of the bench; "
         "choose one of inpaint, jpeg, super-resolve, denoise, colorize, deblur, interpolate"),
        (("jpeg", ["x4"]), "--case x4: jpeg has quality-5, quality-10, quality-20, quality-40, quality-3, quality-60"),
        (("colorize", ["x4"]), "--case x4: colorize has luma"),
        (("inpaint", ["mask"]), "--case mask: give the file with --mask"),
        (("jpeg", [], np.eye(8, dtype=bool)), "--mask: no case uses it; it is for --task inpaint, or omit it"),
        (("inpaint", ["box"], np.eye(8, dtype=bool)),
         '--mask: no case uses it; add --case "mask", or omit it'),
    ],
)  # fmt: skip
def test_errors_of_unknown_cases_list_the_known_ones(arguments, message):
    with pytest.raises(RestoreError) as error:
        cases(*arguments)
    assert str(error.value) == message


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


# Export


def exported(folder, task, chosen=(), overwrite=False, progress=None):
    suite = Suite(of(a=noise(64, 80, 1), b=noise(70, 66, 2)), cases(task, chosen), 7)
    export(suite, folder, overwrite, progress)
    return suite, json.loads((folder / "manifest.json").read_text())


def pixels_of(path):
    return np.asarray(Image.open(path))


def test_export_of_holes(tmp_path):
    folder, seen = tmp_path / "out" / "deep", []
    suite, manifest = exported(folder, "inpaint", ["box", "text"], progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    kinds = ("clean", "damaged", "mask")
    paths = {f"{case}/{kind}/{name}.png" for case in ("box", "text") for kind in kinds for name in "ab"}
    assert set(contents(folder)) == {*paths, "manifest.json"}
    assert (manifest["version"], manifest["task"], manifest["seed"]) == (1, "inpaint", 7)
    assert manifest["data"] == suite.data()
    for case in suite.cases:
        for sample, entry in zip(suite.samples(case), manifest["cases"][case.name], strict=True):
            assert (entry["name"], entry["inputs"]) == (sample.name, {})
            for kind, expected in zip(
                kinds, (sample.example.clean, sample.example.damaged, sample.example.where * 255), strict=True
            ):
                file = entry["files"][kind]
                assert file["path"] == f"{case.name}/{kind}/{sample.name}.png"
                assert (file["height"], file["width"]) == expected.shape[:2]
                assert file["sha256"] == contents(folder)[file["path"]]
                assert np.array_equal(pixels_of(folder / file["path"]), expected)
            assert np.array_equal(read_mask(folder / entry["files"]["mask"]["path"]).hole, sample.example.where)


def test_export_of_jpeg_contains_the_jpeg_files(tmp_path):
    suite, manifest = exported(tmp_path, "jpeg", ["quality-10"])
    assert {path for path in contents(tmp_path) if path.endswith("jpg")} == {
        f"quality-10/damaged/{name}.jpg" for name in "ab"
    }
    for sample, entry in zip(suite.samples(suite.cases[0]), manifest["cases"]["quality-10"], strict=True):
        assert sorted(entry["files"]) == ["clean", "damaged"]
        path = tmp_path / entry["files"]["damaged"]["path"]
        assert path.read_bytes() == sample.example.data
        assert np.array_equal(pixels_of(path), sample.example.damaged)
        coefficients, own = images.jpeg_coefficients(path), sample.example.inputs["coefficients"]
        for ours, its in zip((*own.planes, *own.tables), (*coefficients.planes, *coefficients.tables), strict=True):
            assert np.array_equal(ours, its)


def test_export_of_small_pictures_has_scale_and_kernel(tmp_path):
    suite, manifest = exported(tmp_path, "super-resolve", ["x4", "x8-pool"])
    inputs = {name: entries[0]["inputs"] for name, entries in manifest["cases"].items()}
    assert inputs == {"x4": {"scale": 4, "kernel": "bicubic"}, "x8-pool": {"scale": 8, "kernel": "box"}}
    files = manifest["cases"]["x8-pool"][1]["files"]
    assert {kind: (file["height"], file["width"]) for kind, file in files.items()} == {
        "clean": (64, 64),
        "damaged": (8, 8),
    }
    sample = suite.sample(suite.cases[1], "b")
    assert np.array_equal(pixels_of(tmp_path / files["damaged"]["path"]), sample.example.damaged)


def test_export_of_pairs(tmp_path):
    suite, manifest = exported(tmp_path, "interpolate")
    entry, made = manifest["cases"]["pairs"][0], suite.sample(suite.cases[0], "a_to_b").example
    assert (entry["name"], entry["inputs"]) == ("a_to_b", {"frames": 9})
    read = {kind: pixels_of(tmp_path / file["path"]) for kind, file in entry["files"].items()}
    assert sorted(read) == ["clean", "first", "second"]
    assert np.array_equal(read["first"], made.damaged[0])
    assert np.array_equal(read["second"], made.damaged[1])
    assert np.array_equal(read["clean"], made.clean)


@pytest.mark.parametrize("task", list(CASES))
def test_export_is_reproducible(tmp_path, task):
    for folder in ("one", "two"):
        exported(tmp_path / folder, task)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_folder_with_files_is_kept_unless_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(RestoreError) as error:
        exported(tmp_path, "jpeg")
    assert str(error.value) == f"{tmp_path}: is not empty; give another folder, or --overwrite to write into it"
    assert contents(tmp_path) == before
    exported(tmp_path, "jpeg", overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(RestoreError, match="a part of its path is a file, not a folder"):
        exported(tmp_path / "notes.txt", "jpeg", overwrite=True)


def test_an_interrupted_export_has_no_manifest(tmp_path):
    exported(tmp_path, "jpeg")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exported(tmp_path, "jpeg", overwrite=True, progress=interrupt)
    assert not (tmp_path / "manifest.json").exists()
    assert (tmp_path / "quality-5/clean/a.png").exists()
