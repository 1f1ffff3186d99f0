"""SSIMULACRA2 against the tool of libjxl; FLIP and HaarPSI through their packages; the distance of patches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skimage import data

from bcm_restore import metrics
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import patches, ssimulacra
from bcm_restore.metrics.patches import pyramid

PHOTOS = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea")}
DAMAGE = {
    "posterised": lambda a: a // 16 * 16 + 8,
    "shifted": lambda a: np.roll(a, 1, 1),
    "noisy": lambda a: (a + np.random.default_rng(0).normal(0, 8, a.shape)).round().clip(0, 255).astype(np.uint8),
}

# `ssimulacra2 original.png damaged.png` of libjxl 0.11.2, for the upper left corner of the photographs
REFERENCE = [
    ("astronaut", 255, 301, "posterised", 61.43416223),
    ("astronaut", 255, 301, "shifted", 14.64601312),
    ("coffee", 300, 260, "noisy", 61.41588445),
    ("chelsea", 300, 451, "noisy", 62.44913165),
    ("chelsea", 112, 200, "posterised", 65.66883106),
    ("coffee", 64, 64, "shifted", 87.29021048),
    ("chelsea", 31, 300, "posterised", 17.64672032),
    ("astronaut", 8, 9, "noisy", 92.21116211),
]


@pytest.mark.parametrize(("photo", "height", "width", "damage", "expected"), REFERENCE)
def test_ssimulacra2_is_that_of_libjxl(photo, height, width, damage, expected):
    clean = PHOTOS[photo][:height, :width]
    assert metrics.ssimulacra2(DAMAGE[damage](clean), clean) == pytest.approx(expected, abs=0.05)


def test_the_kernel_of_ssimulacra2_is_nearly_a_gaussian():
    kernel = ssimulacra.kernel()
    distance = np.arange(-4, 5)
    assert kernel.sum() == pytest.approx(1)
    assert (kernel * distance**2).sum() == pytest.approx(1.5**2)
    np.testing.assert_allclose(kernel, stats.norm(0, 1.5).pdf(distance), atol=0.003)


@settings(deadline=None, max_examples=25)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 2**32 - 1))
def test_equal_pictures_are_perfect_and_others_worse(height, width, seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), np.uint8)
    other = picture ^ np.uint8(64)
    for metric, best in ((metrics.ssimulacra2, 100), (metrics.haarpsi, 1)):
        assert metric(picture, picture) == pytest.approx(best, abs=1e-4)
        assert metric(other, picture) < best
    for metric in (metrics.flip, lambda a, b: metrics.sliced_wasserstein([a], [b])):
        assert metric(picture, picture) == 0
        assert metric(other, picture) > 0


def test_more_noise_is_worse():
    clean = PHOTOS["astronaut"][100:260, 100:260]
    levels = [np.clip(clean + np.random.default_rng(1).normal(0, s, clean.shape), 0, 255) for s in (2, 8, 32)]
    noisy = [level.astype(np.uint8) for level in levels]
    for metric, sign in ((metrics.ssimulacra2, 1), (metrics.haarpsi, 1), (metrics.flip, -1)):
        values = [sign * metric(picture, clean) for picture in noisy]
        assert values == sorted(values, reverse=True)
    distances = [metrics.sliced_wasserstein([picture], [clean]) for picture in noisy]
    assert distances == sorted(distances)


def test_flip_and_haarpsi_are_in_their_ranges():
    white, black = np.full((32, 32, 3), 255, np.uint8), np.zeros((32, 32, 3), np.uint8)
    assert 0.9 < metrics.flip(black, white) <= 1
    assert 0 <= metrics.haarpsi(DAMAGE["noisy"](black), PHOTOS["coffee"][:32, :32]) < 0.5


def test_the_pyramid_adds_up_to_the_picture():
    picture = PHOTOS["coffee"][:75, :90]
    bands = pyramid(picture)
    assert [band.shape[:2] for band in bands] == [(75, 90), (38, 45), (19, 23)]
    import cv2

    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + cv2.pyrUp(image, dstsize=band.shape[1::-1])
    np.testing.assert_allclose(image, picture, atol=1e-3)


def test_the_sliced_distance_is_the_mean_of_those_along_its_directions(monkeypatch):
    """One direction at a time, scipy's distance of one dimension."""
    monkeypatch.setattr(patches, "DIRECTIONS", 3)
    rng = np.random.default_rng(5)
    a, b = rng.random((64, 147)), rng.random((64, 147)) ** 2
    directions = np.random.default_rng(1).standard_normal((147, 3))
    normed = []
    for rows in (a, b):
        channels = rows.reshape(64, 3, 49)
        scaled = [(channels[:, c] - channels[:, c].mean()) / channels[:, c].std() for c in range(3)]
        normed.append(np.concatenate(scaled, 1))
    along = [directions[:, n] / np.linalg.norm(directions[:, n]) for n in range(3)]
    expected = np.mean([stats.wasserstein_distance(normed[0] @ d, normed[1] @ d) for d in along])
    assert patches._distance(a, b) == pytest.approx(1000 * expected)


def test_sets_of_patches_do_not_depend_on_the_order():
    one, two = PHOTOS["astronaut"][:64, :64], PHOTOS["coffee"][:64, :64]
    assert metrics.sliced_wasserstein([one, two], [two, one]) == pytest.approx(0, abs=1e-9)


def test_invalid_inputs_are_refused_in_one_line():
    small, photo = PHOTOS["astronaut"][:7, :7], PHOTOS["astronaut"][:64, :64]
    with pytest.raises(RestoreError, match=r"^a picture of 7x7 is too small; the least is 8x8$"):
        metrics.ssimulacra2(small, small)
    with pytest.raises(RestoreError, match=r"^a picture of 7x7 is too small; the least is 16x16$"):
        metrics.haarpsi(small, small)
    with pytest.raises(RestoreError, match=r"^pictures of shape"):
        metrics.flip(photo, small)
    with pytest.raises(RestoreError, match=r"compares sets of pictures of the same sizes$"):
        metrics.sliced_wasserstein([photo], [photo, photo])
    with pytest.raises(RestoreError, match=r"compares sets of pictures of the same sizes$"):
        metrics.sliced_wasserstein([], [])


@pytest.mark.parametrize(("metric", "package"), [(metrics.flip, "flip_evaluator"), (metrics.haarpsi, "piq")])
def test_a_missing_package_is_named_with_the_extra(monkeypatch, metric, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    photo = PHOTOS["astronaut"][:32, :32]
    name = package.replace("_", "-")
    with pytest.raises(RestoreError, match=rf'needs the package {name}; pip install "bcm-restore\[bench\]"$'):
        metric(photo, photo)
