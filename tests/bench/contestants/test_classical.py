"""Contestants without a model: classical methods and networks of other packages."""

import cv2
import numpy as np
import pytest
import skimage.data
from helpers.contestants import BOX

from bcm_restore.bench.base import Case, Sample
from bcm_restore.bench.contestants import denoisers, enlargers
from bcm_restore.bench.contestants.classical import classical
from bcm_restore.bench.contestants.denoisers import level
from bcm_restore.metrics import psnr
from bcm_restore.simulation.degradations import Example, compressed, downscaled, masked, noisy


def method(task, name):
    return next(contestant for contestant in classical(task) if contestant.name == name)


def result(contestant, case, example):
    return contestant.restore(case, Sample("picture", example))


def damaged(picture):
    """Two holes: one inside, one at the edge."""
    mask = np.zeros(picture.shape[:2], bool)
    mask[8:16, 10:15] = mask[30:34, 36:] = True
    return masked(lambda rng, size: mask)(picture, np.random.default_rng(0))


def test_denoisers_get_the_true_or_the_measured_level(monkeypatch):
    """Each of them gains on the noisy picture; without noise, all return the picture itself or nearly so."""
    picture = np.ascontiguousarray(skimage.data.astronaut()[:64, 160:224])
    example = noisy(25)(picture, np.random.default_rng(0))
    assert level(example) == 25
    assert level(Example(example.damaged, picture)) == pytest.approx(25, rel=0.15)
    case = Case("denoise", "sigma-25", noisy(25))
    found = classical("denoise")
    assert [one.name for one in found][:2] == ["the noisy picture", "non-local means"]
    for contestant in found[1:]:
        restored = result(contestant, case, example)
        assert restored.dtype == np.uint8
        assert psnr(restored, picture) > psnr(example.damaged, picture) + 3, contestant.name
    monkeypatch.setattr(denoisers, "find_spec", lambda name: None)
    assert [one.name for one in classical("denoise")] == ["the noisy picture", "non-local means"]


def test_methods_of_each_task(monkeypatch):
    monkeypatch.setattr(enlargers, "find_spec", lambda name: None)
    names = {task: [c.name for c in classical(task)] for task in ("inpaint", "jpeg", "super-resolve", "interpolate")}
    assert names == {
        "inpaint": ["Telea", "Navier-Stokes", "biharmonic"],
        "jpeg": ["the JPEG itself"],
        "super-resolve": ["bicubic", "Lanczos"],
        "interpolate": ["cross-fade"],
    }
    assert [c.name for c in classical("colorize")] == ["the grey picture itself"]
    assert [c.name for c in classical("deblur")] == ["the blurred picture", "Wiener", "Richardson-Lucy, 30 iterations"]
    assert [c.name for c in classical("denoise")][:2] == ["the noisy picture", "non-local means"]  # others if installed
    for task, found in names.items():
        for name in found:
            contestant = method(task, name)
            assert (contestant.nfe, contestant.family, contestant.measured) == (0, name, True)
            assert contestant.identity() == {"name": name}
            assert [contestant.suits(Case(other, "x", BOX.degrade)) for other in names] == [o == task for o in names]


@pytest.mark.parametrize(("name", "flag"), [("Telea", cv2.INPAINT_TELEA), ("Navier-Stokes", cv2.INPAINT_NS)])
def test_opencv_fills_only_the_holes(name, flag, face):
    example = damaged(face)
    filled = result(method("inpaint", name), BOX, example)
    hole = example.where
    assert np.array_equal(filled[~hole], face[~hole])
    channels = [cv2.inpaint(np.ascontiguousarray(example.damaged[..., n]), np.uint8(hole), 3, flag) for n in range(3)]
    assert np.array_equal(filled, np.stack(channels, -1))
    grey = np.full((20, 20, 3), 93, np.uint8)
    example = masked(lambda rng, size: np.pad(np.ones((6, 6), bool), 7))(grey, np.random.default_rng(0))
    # OpenCV's Telea spreads a constant only nearly
    np.testing.assert_allclose(result(method("inpaint", name), BOX, example), grey, atol=3 if name == "Telea" else 0)


def test_the_opencv_methods_differ(face):
    telea, navier_stokes = (result(method("inpaint", name), BOX, damaged(face)) for name in ("Telea", "Navier-Stokes"))
    assert not np.array_equal(telea, navier_stokes)


def test_biharmonic_solves_its_equation():
    """Compares with a dense solution: the Laplacian of the Laplacian vanishes in the hole."""
    height, width = 14, 16
    rows, columns = np.mgrid[:height, :width]
    plane = 60 + 4 * rows + 5 * columns + 8 * np.sin(rows) * np.cos(columns)
    clean = np.stack([plane, plane[::-1], plane[:, ::-1]], -1).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    mask[5:9, 6:11] = True
    number = np.arange(height * width).reshape(height, width)
    laplacian = np.zeros((height * width,) * 2)
    for a, b in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
        for one, other in ((a.ravel(), b.ravel()), (b.ravel(), a.ravel())):
            np.add.at(laplacian, (one, other), 1)
            np.add.at(laplacian, (one, one), -1)
    both, hole = laplacian @ laplacian, mask.ravel()
    known = clean.reshape(-1, 3)[~hole].astype(float)
    solved = np.linalg.solve(both[np.ix_(hole, hole)], -both[np.ix_(hole, ~hole)] @ known)
    assert solved.min() > known.min()
    assert solved.max() < known.max()
    example = masked(lambda rng, size: mask)(clean, np.random.default_rng(0))
    filled = result(method("inpaint", "biharmonic"), BOX, example)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~mask], clean[~mask])
    np.testing.assert_allclose(filled[mask], solved, atol=0.501)


def test_the_jpeg_itself(face):
    example = compressed(10)(face, np.random.default_rng(0))
    kept = result(method("jpeg", "the JPEG itself"), Case("jpeg", "q", compressed(10)), example)
    assert np.array_equal(kept, example.damaged)


def keys(x):
    """Keys' cubic, a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


def lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


@pytest.mark.parametrize(("name", "kernel"), [("bicubic", keys), ("Lanczos", lanczos)])
def test_upsampling_is_a_convolution(name, kernel, face):
    def enlarging(small, scale):
        centres = (np.arange(small * scale) + 0.5) / scale
        weights = kernel(centres[:, None] - np.arange(small) - 0.5)
        return weights / weights.sum(1, keepdims=True)

    example = downscaled(4)(face[:47], np.random.default_rng(0))
    height, width = example.damaged.shape[:2]
    assert (height, width) == (11, 10)
    wanted = np.einsum("ih,hwc,jw->ijc", enlarging(height, 4), example.damaged.astype(float), enlarging(width, 4))
    enlarged = result(method("super-resolve", name), Case("super-resolve", "x4", downscaled(4)), example)
    assert enlarged.dtype == np.uint8
    assert enlarged.shape == (44, 40, 3)
    np.testing.assert_allclose(enlarged, wanted.clip(0, 255), atol=1.3)  # Pillow rounds after each direction


def test_trained_enlargers_beat_bicubic_on_bicubic_pictures(portrait):
    """Those that are installed; a wrong range, order of channels or offset would cost many dB."""
    clean = np.ascontiguousarray(portrait[:96, :96])
    for enlarger in enlargers.enlargers():
        scales = [
            scale for scale in (2, 3, 4, 8) if enlarger.suits(Case("super-resolve", f"x{scale}", downscaled(scale)))
        ]
        assert scales == {"SPAN": [2, 4], "DAT-light": [2, 3, 4], "Real-ESRGAN": [4]}[enlarger.name]
        assert not enlarger.suits(Case("super-resolve", "x4-pool", downscaled(4, "box")))
        case = Case("super-resolve", "x4", downscaled(4))
        example = case.degrade(clean, np.random.default_rng(0))
        bicubic = psnr(result(method("super-resolve", "bicubic"), case, example), example.clean)
        enlarged = result(enlarger, case, example)
        assert enlarged.dtype == np.uint8 and enlarged.shape == example.clean.shape
        gan = enlarger.name == "Real-ESRGAN"  # invents details
        assert psnr(enlarged, example.clean) > bicubic + (-4 if gan else 0.3), enlarger.name


def test_cross_fade():
    pair = np.zeros((2, 1, 2, 3), np.uint8)
    pair[0], pair[1, 0, 0], pair[1, 0, 1] = 200, 0, 255
    case = Case("interpolate", "pairs", BOX.degrade)
    strip = result(method("interpolate", "cross-fade"), case, Example(pair, pair[0], {"frames": 5}))
    assert strip.dtype == np.uint8
    assert strip.shape == (1, 10, 3)
    assert strip[0, :, 1].tolist() == [200, 200, 150, 214, 100, 228, 50, 241, 0, 255]
    assert np.array_equal(strip, np.repeat(strip[..., :1], 3, -1))
    ends = result(method("interpolate", "cross-fade"), case, Example(pair, pair[0], {"frames": 2}))
    assert np.array_equal(ends, np.concatenate(list(pair), axis=1))
