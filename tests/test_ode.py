"""ODE solvers on normal pixels, whose probability flow is known exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore import ode, samplers
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet

S = 0.5  # standard deviation of the pixels


def mean(x, t):
    return x * S**2 / (S**2 + t**2)


def flow(x, t, u):
    return x * ((S**2 + u**2) / (S**2 + t**2)) ** 0.5


def error(solver, steps, last=0.01):
    x = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    levels = [float(level) for level in np.geomspace(2.0, last, steps + 1)]
    return float((ode.SOLVERS[solver](mean, x, levels) - flow(x, levels[0], levels[-1])).abs().max())


@pytest.mark.parametrize("solver", sorted(ode.SOLVERS))
def test_errors_are_of_second_order(solver):
    """The first steps, of lower order, keep DEIS from more."""
    assert error(solver, 64) / error(solver, 128) > 0.8 * 2**2
    assert error(solver, 128) < 1e-4


@settings(deadline=None)
@given(st.integers(1, 20), st.sampled_from(sorted(ode.SOLVERS)))
def test_each_level_but_the_last_is_evaluated_once(nfe, solver):
    calls = []

    def counted(x, t):
        calls.append(t)
        return mean(x, t)

    levels = ode.ladder(nfe, 80.0)
    end = ode.SOLVERS[solver](counted, torch.ones(1, 3, 2, 2), levels)
    assert calls == levels[:-1] and len(calls) == nfe
    assert end.isfinite().all()


def test_ddim_is_of_first_order_both_ways():
    def off(steps, first, last):
        levels = np.geomspace(first, last, steps + 1).tolist()
        x = torch.ones(1, 3, 1, 1, dtype=torch.float64)
        return float((ode.ddim(mean, x, levels) - flow(x, first, last)).abs().max())

    for ends in ((2.0, 0.01), (0.01, 2.0)):
        assert off(64, *ends) / off(128, *ends) == pytest.approx(2, rel=0.05)
        assert off(128, *ends) < 0.04


def test_bdia_without_its_correction_is_ddim():
    x, levels = torch.randn(2, 3, 4, 4), [3.0, 1.0, 0.4, 0.0]
    torch.testing.assert_close(ode.bdia(mean, x, levels, gamma=0.0)[0], ode.ddim(mean, x, levels))


def test_bdia_follows_its_formula():
    """Three steps by hand; gamma = 1 is the leapfrog method."""
    x, (a, b, c) = torch.randn(1, 3, 2, 2, dtype=torch.float64), (2.0, 1.5, 0.7)

    def step(z, t, s):
        return (s - t) * z * t / (S**2 + t**2)  # DDIM's, on normal pixels

    z = x + step(x, a, b)
    last, before = ode.bdia(mean, x, [a, b, c], gamma=0.6)
    expected = x - 0.4 * (x - z) - 0.6 * step(z, b, a) + step(z, b, c)
    torch.testing.assert_close((last, before), (expected, z))
    torch.testing.assert_close(ode.bdia(mean, x, [a, b, c])[0], x + (c - a) * z * b / (S**2 + b**2))


@settings(deadline=None)
@given(st.integers(2, 12), st.floats(0.5, 1.0))
def test_bdia_is_inverted_exactly(nfe, gamma):
    """Also with a rough denoiser, of which it asks nothing."""
    calls = []

    def rough(x, t):
        calls.append(t)
        return (5 * x).sin() / (1 + t)

    x = torch.linspace(-1, 1, 24, dtype=torch.float64).view(1, 3, 2, 4)
    up = np.geomspace(0.05, 3.0, nfe + 1).tolist()
    noise, before = ode.bdia(rough, x, up, gamma=1 / gamma)
    assert calls == up[:-1]
    calls.clear()
    back, second = ode.bdia(rough, noise, up[::-1], gamma=gamma, second=before)
    assert calls == up[-2:0:-1]
    scale = float(noise.abs().max())
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9 * (1 + scale) * gamma**-nfe)
    torch.testing.assert_close(second, ode.ddim(rough, x, up[:2]), rtol=0, atol=1e-9 * (1 + scale) * gamma**-nfe)


def test_one_step_to_zero_is_the_posterior_mean():
    x = torch.randn(2, 3, 4, 4)
    for solver in ode.SOLVERS.values():
        torch.testing.assert_close(solver(mean, x, [0.7, 0.0]), mean(x, 0.7))


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=4, unique=True), st.integers(0, 3))
def test_polynomials_are_integrated_exactly(nodes, degree):
    nodes = sorted(nodes)
    if degree >= len(nodes) or min(np.diff([0, *nodes])) < 0.05:
        return
    weights = ode.integrals(nodes, 2.0, 0.5)
    expected = (0.5 ** (degree + 1) - 2.0 ** (degree + 1)) / (degree + 1)
    assert sum(w * node**degree for w, node in zip(weights, nodes, strict=True)) == pytest.approx(expected, rel=1e-5)


def test_levels_are_edms():
    levels = ode.ladder(3, 80.0)
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    assert levels == pytest.approx([80.0, middle, 0.002, 0.0])
    assert ode.ladder(1, 80.0) == [80.0, 0.0]


def test_generation_by_a_solver_counts_its_nfe():
    model = BCM(ConvUNet((8, 8), (1, 1), embedding=16), device="cpu")
    images = samplers.integrate(model, 3, "deis", 4, size=(16, 24), seed=5)
    assert images.shape == (3, 3, 16, 24)
    assert model.nfe == 4
    assert images.abs().max() <= 1
    torch.testing.assert_close(samplers.integrate(model, 1, "deis", 4, size=(16, 24), seed=6), images[1:2])
    with pytest.raises(RestoreError, match=r"^solver 'euler' is not known; choose dpm-solver\+\+ or deis$"):
        samplers.integrate(model, 1, "euler", 4)
    with pytest.raises(RestoreError, match=r"^nfe is 0; give at least 1$"):
        samplers.integrate(model, 1, "deis", 0)
