"""Expectations within the intervals of rounded numbers, alone and as JPEG's data consistency."""

import io

import numpy as np
import pytest
import torch
from helpers.jpegs import ALIGNED, KINDS, ODD, compressed, guess, picture, psnr, to_tensor
from helpers.networks import toy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import truncnorm
from skimage import data

from bcm_restore import schemes, tasks
from bcm_restore.errors import NothingToRestore
from bcm_restore.model import Noise
from bcm_restore.operators import Jpeg
from bcm_restore.operators.interval import expected_in_interval
from bcm_restore.operators.jpeg_evidence import is_rounded


def expected(mean, deviation):
    return expected_in_interval(torch.tensor([float(mean)]), torch.tensor([float(deviation)])).item()


@given(st.floats(-40, 40), st.floats(0.01, 4))
def test_it_is_the_mean_of_a_truncated_normal_distribution(mean, deviation):
    inside = min(max(mean, -0.5 - 6 * deviation), 0.5 + 6 * deviation)  # further away it stays as it is there
    ends = (-0.5 - inside) / deviation, (0.5 - inside) / deviation
    assert expected(mean, deviation) == pytest.approx(truncnorm.mean(*ends, inside, deviation), abs=3e-4)


def test_extremes():
    assert expected(0.3, 0) == pytest.approx(0.3)  # a sure estimate is kept, or moved to the edge
    assert expected(-7.0, 0) == pytest.approx(-0.5, abs=1e-3)
    assert expected(0.3, 1e6) == pytest.approx(0, abs=2e-3)  # an estimate that says nothing: the middle
    assert expected(1e6, 1e6) == pytest.approx(0, abs=0.15)
    assert expected(0.0, 0.2) == 0


def test_it_has_the_least_error():
    """Numbers, rounded; and estimates of them with normal errors."""
    random = np.random.default_rng(0)
    estimates = random.normal(0, 1, 200_000)
    numbers = estimates + random.normal(0, 0.4, estimates.shape)
    off = torch.tensor(estimates - numbers.round()).float()
    best = numbers.round() + expected_in_interval(off, torch.full_like(off, 0.4)).numpy()
    error = lambda x: float(np.square(x - numbers).mean())  # noqa: E731
    assert error(best) < 0.9 * error(numbers.round() + off.clamp(-0.5, 0.5).numpy())
    for deviation in (0.3, 0.5):
        assert error(best) < error(numbers.round() + expected_in_interval(off, torch.full_like(off, deviation)).numpy())


@pytest.mark.parametrize("size", [ALIGNED, ODD, (97, 121), (8, 8), (1, 1), (3, 200)])
@pytest.mark.parametrize("kind", KINDS)
def test_expected_coefficients_are_those_of_the_file_and_closer_to_the_picture(kind, size, tmp_path):
    original = picture(*size, kind)
    x = to_tensor(original)
    estimate = guess(x, strength=0.05)
    for quality in (50, 90):
        operator = Jpeg(compressed(original, tmp_path, quality, kind)[0])
        projected = operator.fit(estimate, operator.y)
        fitted = operator.fit_denoised(estimate, operator.y, 0.05)
        if size == ALIGNED:
            assert all(map(torch.equal, operator.A(fitted), operator.y))
        if min(size) > 8 and kind in ("4:4:4", "grey"):  # averaged chroma has smaller errors here
            assert psnr(fitted, x) > psnr(projected, x) + 0.05


def test_smooth_areas_keep_no_blocks(tmp_path):
    """A slope stays where it is: the middles of the intervals would be the decoded blocks."""
    slope = np.linspace(90, 140, 96)[:, None, None] + np.linspace(0, 9, 128)[None, :, None] + np.zeros(3)
    coefficients, decoded = compressed(Image.fromarray(slope.round().astype(np.uint8)), tmp_path, 20, "4:4:4")
    operator = Jpeg(coefficients)
    x = torch.tensor(slope / 127.5 - 1).float().permute(2, 0, 1)[None]
    assert (decoded - x).abs().max() * 127.5 > 2
    assert (operator.fit_denoised(x, operator.y, 0.05) - x).abs().max() * 127.5 < 0.6


@pytest.mark.parametrize("strip", [8, 64, 1000])
def test_strips_change_nothing(strip, tmp_path, monkeypatch):
    operator = Jpeg(compressed(picture(*ODD), tmp_path, 50)[0])
    x = guess(to_tensor(picture(*ODD)))
    whole = operator.fit_denoised(x, operator.y, 0.05)
    monkeypatch.setattr("bcm_restore.operators.jpeg.STRIP", strip)
    torch.testing.assert_close(operator.fit_denoised(x, operator.y, 0.05), whole, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize("quality", [50, 80])
def test_a_restored_picture_is_not_taken_for_a_jpeg(name, quality):
    """Although its coefficients are near the middles of intervals."""
    pixels = getattr(data, name)()[40:184, 150:294]
    once = tasks.get("jpeg").restore(reopened(pixels, quality), model="bcm-photo-small", nfe=2)
    with pytest.raises(NothingToRestore, match="no trace of JPEG compression"):
        tasks.get("jpeg").restore(np.asarray(once), model="bcm-photo-small", nfe=1)
    assert not tasks.get("super-resolve").run(np.asarray(once), model="bcm-photo-small", scale=2, nfe=1).remark


def reopened(pixels, quality):
    """The JPEG of pixels, as a PIL image that knows its file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return Image.open(file)


def test_noise_and_expectations_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    steps = torch.full((8, 8), 4.0).cumsum(1)
    multiples = torch.randint(-3, 4, (200, 8, 8), generator=generator) * steps
    normal = torch.randn(200, 8, 8, generator=generator)
    assert is_rounded(multiples + 0.4 * normal, steps)
    assert is_rounded(multiples + 3.0 * normal, steps, 3.0)
    assert not is_rounded(multiples + 0.2 * steps * normal, steps)
    assert not is_rounded(multiples + 0.2 * steps * normal, steps, 1.2)
    painted = torch.rand(200, 8, 8, generator=generator) * 8 * steps  # on 70 % of a JPEG
    painted[:60] = (multiples + 0.4 * normal)[:60]
    assert is_rounded(painted, steps)
    assert is_rounded(0.1 * steps * normal[:, :1, :1], steps)  # zeros say nothing


@pytest.mark.parametrize(
    ("moves", "error"),
    [
        ("level 0.15, mean, fit", 0.15),
        ("level 0.3, mean, fit", 0.2),  # that of the first estimate
        ("level 0.3, mean, fit, level 0.1, mean, fit", 0.1),
        ("level 0.3, to 0, fit", 0.0),
        ("level 0.3, mean, fit, level 0.1, to 0, fit", 0.0),
        ("level 0.3, mean, noise 0.1, fit, to 0", 0.0),
    ],
)
def test_a_scheme_gives_the_error_of_a_posterior_mean(moves, error, tmp_path):
    coefficients, decoded = compressed(picture(*ALIGNED), tmp_path, 30)
    operator, given = Jpeg(coefficients), []
    operator.fit_denoised = lambda x, y, error: given.append(error) or x
    operator.fit = lambda x, y: given.append(0.0) or x
    schemes.run(schemes.parse(moves), toy(), decoded, operator, operator.y, Noise([0]), t0=0.2)
    assert given[-1] == error
