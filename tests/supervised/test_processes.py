"""I2SB and Palette with the exact networks of normal pixels, whose bridges and posteriors are known."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.model import Noise
from bcm_restore.supervised import I2SB, Damaged, Palette, make_process
from bcm_restore.supervised.palette import level

CLEAN, DAMAGE = 0.5, 0.3  # standard deviations of the pixels and of what was added to them
COUNT = 20000
SHRINK = CLEAN**2 / (CLEAN**2 + DAMAGE**2)  # E[clean | damaged] = SHRINK damaged
SPREAD = CLEAN * DAMAGE / (CLEAN**2 + DAMAGE**2) ** 0.5  # standard deviation of clean, given damaged


def pair(generator, side=1, count=COUNT):
    clean = CLEAN * torch.randn(count, 3, side, side, generator=generator)
    return clean, Damaged(clean + DAMAGE * torch.randn(clean.shape, generator=generator))


def exact_i2sb(process):
    """E[(X_t - X_0) / sigma_t | X_t]: all three are normal, so it is linear in X_t."""
    forward, _backward = process.variances
    total = forward[-1]

    def predict(x, damaged, sigma):
        before = sigma.double().view(-1, 1, 1, 1) ** 2
        share = before / total
        own = 0.0 if process.ode else (before * (total - before) / total)
        variance = CLEAN**2 + (share * DAMAGE) ** 2 + own  # X_t = X_0 + share (X_1 - X_0) + noise
        return ((variance - CLEAN**2) / variance * x / before.sqrt()).float()

    return predict


def exact_palette(x, damaged, sigma):
    """E[e | y_0 + sigma e, x] with y_0 | x ~ N(SHRINK x, SPREAD^2)."""
    t = sigma.double().view(-1, 1, 1, 1)
    return (t / (SPREAD**2 + t**2) * (x - SHRINK * damaged)).float()


def moments(x):
    return float(x.mean()), float(x.std())


def test_the_schedule_of_i2sb_is_symmetric_and_its_variances_add_up():
    forward, backward = I2SB().variances
    assert len(forward) == 1000
    torch.testing.assert_close(forward, backward.flip(0))
    betas = forward.diff(prepend=torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(forward + backward - betas, forward[-1:].expand(1000))
    assert betas[0] == pytest.approx(1e-4)
    assert betas[499] == betas[500] == betas.max()
    assert betas[499] == pytest.approx((0.01 + 499 / 999 * (0.0003**0.5 - 0.01)) ** 2)


def test_the_schedule_of_palette_ends_in_noise():
    gammas = Palette().gammas
    assert (len(gammas), float(gammas[0])) == (2001, 1.0)
    assert gammas[1] == pytest.approx(1 - 1e-6)
    assert float(gammas[2000].log()) == pytest.approx(-2000 * 0.005, rel=0.01)
    torch.testing.assert_close(level(gammas[5]), ((1 - gammas[5]) / gammas[5]).sqrt())


@pytest.mark.parametrize("process", [I2SB(), I2SB(ode=True), Palette()])
def test_the_exact_network_has_the_least_loss(process):
    exact = exact_palette if process.name == "palette" else exact_i2sb(process)

    def loss(factor):
        generator = torch.Generator().manual_seed(0)
        clean, damaged = pair(generator)
        return float(process.loss(lambda *inputs: factor * exact(*inputs), clean, damaged, generator).mean())

    assert loss(1.0) < min(loss(0.95), loss(1.05))


@pytest.mark.parametrize("ode", [False, True])
def test_one_evaluation_of_i2sb_gives_the_posterior_mean(ode):
    """X_0 is predicted from X_1 alone."""
    process = I2SB(ode=ode)
    damaged = Damaged(torch.linspace(-1, 1, 50).view(50, 1, 1, 1).expand(50, 3, 1, 1))
    got = process.sample(exact_i2sb(process), damaged, 1, Noise(range(50)))
    torch.testing.assert_close(got, SHRINK * damaged.image, rtol=1e-4, atol=1e-5)


def test_i2sb_samples_the_clean_images_of_a_damaged_one():
    """The bridge's end has the distribution of clean images; for one damaged image, of normal ones around the mean."""
    process = I2SB()
    _, damaged = pair(torch.Generator().manual_seed(1), side=64, count=1)
    ends = process.sample(exact_i2sb(process), damaged, 100, Noise([0]))
    mean, deviation = moments(ends)
    assert mean == pytest.approx(0, abs=0.01)
    assert deviation == pytest.approx(CLEAN, rel=0.02)


def test_palette_samples_the_posterior():
    damaged = Damaged(torch.full((1, 3, 64, 64), 0.4))
    ends = Palette().sample(exact_palette, damaged, 1000, Noise([0]))
    mean, deviation = moments(ends)
    assert mean == pytest.approx(SHRINK * 0.4, abs=0.015)
    assert deviation == pytest.approx(SPREAD, rel=0.05)


def test_palette_without_fresh_noise_is_a_function_of_its_first():
    """DDIM stretches the noise it starts from to the posterior."""
    damaged = Damaged(torch.full((1, 3, 64, 64), 0.4))
    ends = Palette(eta=0.0).sample(exact_palette, damaged, 500, Noise([0]))
    start = Noise([0])(damaged.image)
    assert float(torch.corrcoef(torch.stack([ends.flatten(), start.flatten()]))[0, 1]) > 0.999
    assert moments(ends) == pytest.approx((SHRINK * 0.4, SPREAD), rel=0.05)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["i2sb", "palette"]), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_known_pixels_stay_and_every_nfe_is_counted(name, nfe, height, width, holed):
    process, calls = make_process(name), []
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(nfe)) * 2 - 1
    hole = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(width)) < 0.5 if holed else None

    def predict(x, damaged, levels):
        calls.append(levels)
        assert damaged is image
        return torch.zeros_like(x)

    got = process.sample(predict, Damaged(image, hole), nfe, Noise([0, 1]))
    assert got.shape == image.shape
    assert got.isfinite().all()
    assert len(calls) == nfe
    assert all(later[0] < earlier[0] for earlier, later in itertools.pairwise(calls))
    if holed:
        known = ~hole.expand_as(image)
        assert torch.equal(got[known], image[known])


def test_the_loss_is_over_the_hole():
    """Errors in known pixels do not count, nor what the hole of the damaged image holds."""
    clean = torch.zeros(2, 3, 4, 4)
    hole = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    hole[:, :, :2] = True
    wrong = torch.where(hole, 0.0, 5.0).expand_as(clean)
    for process in (I2SB(), Palette()):
        seeds = (torch.Generator().manual_seed(3) for _ in range(3))
        right = process.loss(lambda x, *_: torch.zeros_like(x), clean, Damaged(clean, hole), next(seeds))
        known_wrong = process.loss(lambda x, *_: wrong, clean, Damaged(clean, hole), next(seeds))
        other_hole = Damaged(clean + 9 * hole, hole)
        other = process.loss(lambda x, *_: torch.zeros_like(x), clean, other_hole, next(seeds))
        torch.testing.assert_close(known_wrong, right)
        torch.testing.assert_close(other, right)
