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
