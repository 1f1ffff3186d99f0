"""Deblurring: kernels of every kind, noise, what is found, files, and large pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bcm_restore
from bcm_restore import images, spans, tasks
from bcm_restore.batch import restore
from bcm_restore.errors import NothingToRestore, RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.operators import kernels
from bcm_restore.simulation.blur import SIDES, fixed, shake
from bcm_restore.simulation.degradations import BORDER, VARIANTS, blurred
from bcm_restore.tasks.kernels import as_kernel

DEBLUR = tasks.get("deblur")
FAST = {"scheme": "level 2t0, mean, fit"}
QUICK = ("--nfe", 1, "--model", "bcm-photo-small")


@pytest.fixture(scope="module")
def clean():
    return np.ascontiguousarray(skimage.data.astronaut()[20:250, 120:350])


@pytest.fixture(scope="module")
def example(clean):
    return blurred(fixed("gaussian:1.6"))(clean, np.random.default_rng(0))


@pytest.fixture(scope="module")
def quick():
    return bcm_restore.load_model("bcm-photo-small", device="cpu")


# The task


@pytest.mark.parametrize("variant", list(VARIANTS["deblur"]))
def test_blur_is_removed(clean, quick, variant):
    example = VARIANTS["deblur"][variant](clean, np.random.default_rng(0))
    restored = DEBLUR.restore(example.damaged, model=quick, nfe=2, **example.inputs)
    assert psnr(restored, example.clean) > psnr(example.damaged, example.clean) + 1.5


def test_kernels_of_every_kind_are_the_same(example, save, quick):
    kernel = kernels.gaussian(1.6)
    path = save("kernel.png", np.rint(kernel.numpy() / kernel.max().item() * 65535).astype(np.uint16))
    options = {**FAST, "model": quick, "noise": 0}
    expected = DEBLUR.restore(example.damaged, kernel="gaussian:1.6", **options).astype(int)
    for other in (kernel, 5 * kernel.double().numpy(), path, str(path), Image.open(path)):
        assert np.abs(DEBLUR.restore(example.damaged, kernel=other, **options) - expected).max() <= 1


def test_the_blur_is_found_and_named(example, quick):
    found = DEBLUR.run(example.damaged, model=quick, **FAST)
    assert found.remark.startswith("blur found: gaussian:1.")
    assert psnr(found.image, example.clean) > psnr(example.damaged, example.clean) + 1


def test_a_sharp_picture_is_left_alone(clean, quick):
    with pytest.raises(NothingToRestore, match="no blur found in the picture; give its kernel"):
        DEBLUR.restore(clean, model=quick)


def test_more_noise_is_trusted_less(clean):
    x = torch.from_numpy(clean.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    problems = [DEBLUR.problem(x, kernel="gaussian:2", noise=noise) for noise in (0, 2, 20)]
    assert problems[0].t0 < problems[1].t0 < problems[2].t0
    roughness = [float(problem.x.diff(dim=2).square().mean()) for problem in problems]
    assert roughness[0] > roughness[1] > roughness[2]


def test_the_rounding_of_a_jpeg_counts_as_noise(example, save):
    path = save("photo.jpg", example.damaged, quality=60)
    x = torch.from_numpy(images.read(path).pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    without, known = (
        DEBLUR.problem(x, kernel="gaussian:1.6", coefficients=one).operator.sigma
        for one in (None, images.jpeg_coefficients(path))
    )
    assert known > 2 * without


def test_grey_pictures_stay_grey(example, quick):
    grey = example.damaged.mean(2).astype(np.uint8)
    restored = DEBLUR.restore(grey, kernel="gaussian:1.6", model=quick, **FAST)
    assert restored.shape == grey.shape
    truth = example.clean.mean(2).astype(np.uint8)
    assert psnr(restored, truth) > psnr(grey, truth) + 1


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(["gaussian:2", "motion:30:20", "disk:0.5"]))
def test_flat_pictures_of_any_size_stay_flat(quick, height, width, kernel):
    flat = np.full((height, width, 3), 90, np.uint8)
    restored = DEBLUR.restore(flat, kernel=kernel, model=quick, nfe=1)
    assert np.abs(restored.astype(int) - flat).max() <= 1


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"kernel": "gausian:2"}, "kernel gausian:2: no such file; give gaussian:2, motion:15:30"),
        ({"kernel": "."}, r"kernel \.: is a folder; give gaussian:2"),
        ({"kernel": np.zeros((3, 3))}, "kernel: its values must not be negative, and some must be positive"),
        ({"kernel": np.array([[1.0, -0.1]])}, "kernel: its values must not be negative"),
        ({"kernel": np.full((3, 3), np.nan)}, "kernel: its values must not be negative"),
        ({"kernel": np.ones(3)}, r"kernel: has the shape \(3,\); give \(h, w\), at most 255 pixels each"),
        ({"kernel": np.ones((300, 3))}, r"kernel: has the shape \(300, 3\)"),
        ({"kernel": 3}, "kernel: a int is not a kernel; give gaussian:2"),
        ({"kernel": "disk:2", "noise": "a"}, "noise='a' is a str, not a number"),
        ({"kernel": "disk:2", "noise": -1}, "noise -1: give its standard deviation"),
    ],
)
def test_wrong_kernels_and_noise_are_refused(clean, quick, inputs, message):
    with pytest.raises(RestoreError, match=message):
        DEBLUR.restore(clean, model=quick, **inputs)


def test_unknown_inputs_are_refused(clean):
    with pytest.raises(TypeError, match="did you mean 'kernel'"):
        DEBLUR.restore(clean, kernels="disk:2")


def test_large_pictures_are_restored_in_bands(clean, quick, monkeypatch):
    example = blurred(shake, noise=2)(skimage.data.astronaut()[:320, 200:300], np.random.default_rng(0))
    options = {**FAST, "model": quick, **example.inputs}
    whole = DEBLUR.restore(example.damaged, **options)
    monkeypatch.setattr(spans, "LARGE", 1000)
    monkeypatch.setattr(spans, "BAND_PIXELS", 150 * example.damaged.shape[1])
    parts = DEBLUR.restore(example.damaged, **options)
    # conjugate gradients stop early, at slightly other points
    assert np.abs(whole.astype(int) - parts).mean() < 1
    assert psnr(parts, example.clean) > psnr(whole, example.clean) - 0.1


# The command


def test_the_command_finds_blurs_and_skips_sharp_pictures(cli, save, clean, example, tmp_path):
    save("in/blurred.png", example.damaged)
    save("in/sharp.png", clean)
    result = cli("deblur", tmp_path / "in", *QUICK)
    assert "blur found: gaussian:1." in result.stdout
    assert "sharp.png: no blur found; --kernel gaussian:1 sharpens it anyway" in result.stderr
    assert [path.name for path in (tmp_path / "in_deblurred").glob("*.png")] == ["blurred.png"]


def test_a_kernel_file_is_no_picture_to_restore(cli, save, example, tmp_path):
    save("in/blurred.png", example.damaged)
    kernel = save("in/kernel.png", np.ones((3, 3), np.uint8))
    found = json.loads(cli("deblur", tmp_path / "in", "--kernel", kernel, "--json", *QUICK).stdout)
    assert [Path(one["input"]).name for one in found["files"]] == ["blurred.png"]


def test_another_kernel_recomputes_outputs(cli, save, example, tmp_path):
    save("in/blurred.png", example.damaged)

    def status(kernel):
        return json.loads(cli("deblur", tmp_path / "in", "--kernel", kernel, "--json", *QUICK).stdout)["files"][0][
            "status"
        ]

    kernel = save("kernel.png", np.ones((3, 3), np.uint8))
    assert [status("disk:2"), status("disk:2"), status("disk:3")] == ["restored", "kept", "restored"]
    assert [status(kernel), status(kernel)] == ["restored", "kept"]
    save("kernel.png", np.ones((3, 1), np.uint8))
    assert status(kernel) == "restored"


def test_a_wrong_kernel_is_one_line(cli, photo, tmp_path):
    assert "kernel 'disk:x': write disk:RADIUS" in cli.refuses(tmp_path, "deblur", photo, "--kernel", "disk:x")


def test_files_from_python(save, example, tmp_path):
    path = save("photo.png", example.damaged)
    outcome = bcm_restore.restore_file("deblur", path, kernel="gaussian:1.6", nfe=1, model="bcm-photo-small")
    assert Path(outcome.output).name == "photo_deblurred.png"
    assert psnr(images.read(outcome.output).pixels, example.clean) > psnr(example.damaged, example.clean) + 1
    array = as_kernel("gaussian:1.6").numpy()
    [again] = restore(
        "deblur", path, kernel=array, nfe=1, model="bcm-photo-small", output=tmp_path / "again.png", overwrite=True
    )
    pixels = [images.read(one.output).pixels.astype(int) for one in (outcome, again)]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


# The simulation


def test_simulated_blur_uses_what_lies_outside_the_frame(clean):
    kernel = np.zeros((3, 5), np.float32)
    kernel[0, 4], kernel[1, 2] = 0.25, 0.75  # from the pixel below left, as a convolution turns the kernel
    example = blurred(lambda rng: kernel)(clean, np.random.default_rng(0))
    inside = slice(BORDER, -BORDER)
    moved = np.roll(clean, (-1, 2), (0, 1)).astype(float)
    expected = np.rint(0.75 * clean + 0.25 * moved)[inside, inside]
    assert np.abs(example.damaged - expected).max() <= 1  # halves may round either way
    np.testing.assert_array_equal(example.clean, clean[inside, inside])


@pytest.mark.parametrize("seed", range(5))
def test_camera_shakes_are_paths(seed):
    kernel = shake(np.random.default_rng(seed))
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] in SIDES
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel.min() >= 0
    used = np.argwhere(kernel > 0)
    assert max(np.ptp(used, axis=0)) >= kernel.shape[0] - 5  # it fills the square
    np.testing.assert_array_equal(kernel, shake(np.random.default_rng(seed)))


def test_a_photograph_is_not_taken_for_a_kernel(save, clean):
    small = save("photo.png", clean[:64, :64])
    with pytest.raises(RestoreError, match=r"photo\.png: looks like a photograph; a kernel is light on black"):
        as_kernel(small)
    assert as_kernel(save("box.png", np.full((5, 5), 9, np.uint8))).shape == (5, 5)
