"""The formulas of the solvers on normal pixels, where the posterior mean is k x with k = s^2 / (s^2 + t^2)."""

import dataclasses
import math

import pytest
import torch
from helpers.solvers import (
    LEVELS,
    S,
    columns,
    dense,
    gain,
    global_noise,
    inpainting,
    measured,
    problems,
)

from bcm_restore.bench.contestants import deepinv_solvers, own_solvers
from bcm_restore.bench.contestants.deepinv_solvers import PosteriorMean, physics_of
from bcm_restore.bench.contestants.solvers import spread
from bcm_restore.model import Noise
from bcm_restore.operators import Blur


def test_levels_are_midpoints_of_logarithmic_intervals():
    assert spread(0.4, 0.1, 1) == pytest.approx([0.2])
    assert spread(0.8, 0.05, 4) == pytest.approx([0.8 * 2**-0.5, 0.8 * 2**-1.5, 0.8 * 2**-2.5, 0.8 * 2**-3.5])


def test_the_denoiser_of_unit_images_is_the_posterior_mean(exact):
    y = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for sigma in (0.05, torch.tensor(0.3), torch.tensor([0.1, 0.4])):
        k = gain(2 * torch.as_tensor(sigma)).view(-1, 1, 1, 1)
        torch.testing.assert_close(PosteriorMean(exact)(y, sigma), 0.5 + k * (y - 0.5), rtol=1e-4, atol=1e-6)
    assert exact.nfe == 3
    assert PosteriorMean(exact)(y, torch.tensor(0.0)) is y
    assert exact.nfe == 3


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddnm_on_normal_pixels(exact, eta):
    for problem in problems():
        A, pinv = dense(problem.operator, problem.x.shape[2:])
        null = torch.eye(len(pinv), dtype=torch.float64) - pinv @ A
        noise = Noise([5])

        fixed = pinv @ measured(problem)
        x = columns(problem.x) + LEVELS[0] * columns(noise(problem.x))
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            clean = x * gain(t)
            mixed = eta * columns(noise(problem.x)) + math.sqrt(1 - eta**2) * (x - clean) / t
            x = fixed + null @ clean + s * mixed
        result = own_solvers.ddnm(problem, exact, LEVELS, 5, eta=eta)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.parametrize("gamma", [0.5, 20.0])
def test_dds_on_normal_pixels(exact, eta, gamma):
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])
        y = measured(problem)
        noise = Noise([5])
        x = columns(problem.x) + LEVELS[0] * columns(noise(problem.x))
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            clean = x * gain(t)
            mixed = eta * columns(noise(problem.x)) + math.sqrt(1 - eta**2) * (x - clean) / t
            x = torch.linalg.solve(gamma * A.T @ A + torch.eye(len(x)), gamma * A.T @ y + clean) + s * mixed
        result = own_solvers.dds(problem, exact, LEVELS, 5, eta=eta, gamma=gamma)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=3e-3)  # five steps of conjugate gradients


def test_the_proximal_point_of_a_blur_is_that_of_its_matrix():
    """Five steps of conjugate gradients solve a small system with few eigenvalues."""
    operator = Blur(torch.tensor([[0.2, 0.6, 0.2]]), (3, 6))
    x, y = torch.rand(2, 1, 3, 3, 6, generator=torch.Generator().manual_seed(1))
    A, _ = dense(operator, (3, 6))
    expected = torch.linalg.solve(2 * A.T @ A + torch.eye(18), 2 * A.T @ columns(y) + columns(x))
    found = columns(own_solvers.proximal(operator, x, y, 2.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    transposed = columns(own_solvers.adjoint(operator, y, like=x))
    torch.testing.assert_close(transposed, A.T @ columns(y), rtol=0, atol=1e-5)


def test_noise_is_added_up_to_the_first_level(exact):
    problem = inpainting()[0]
    n = Noise([5])(problem.x)
    for t0, level, amount in ((0.0, 0.5, 0.5), (0.3, 0.5, 0.4), (0.5, 0.3, 0.0)):
        own = dataclasses.replace(problem, t0=t0)
        torch.testing.assert_close(own_solvers.noised(own, level, Noise([5])), problem.x + amount * n)


def test_reddiff_on_normal_pixels(exact):
    rate, weight = 0.8, 0.7
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])
        y, noise = measured(problem), Noise([5])
        mu = columns(problem.x)
        for t in LEVELS:
            clean = gain(t) * (mu + t * columns(noise(problem.x)))
            mu = mu - rate * (A.T @ (A @ mu - y) + weight * (mu - clean))
        result = own_solvers.reddiff(problem, exact, LEVELS, 5, rate=rate, weight=weight)
        torch.testing.assert_close(columns(result), mu, rtol=0, atol=1e-3)


def test_dpm_solver_on_normal_pixels(exact):
    for problem in problems():
        noise = Noise([5])(problem.x)
        x, before = problem.x + LEVELS[0] * noise, None
        for n, (t, s) in enumerate(zip(LEVELS, [*LEVELS[1:], 0.0], strict=True)):
            fitted = problem.operator.fit(gain(t) * x, problem.y)
            line = fitted
            if n == 1:  # linear in log t; the first and the last step are of first order
                line = fitted + (fitted - before) * math.log(t / s) / (2 * math.log(LEVELS[0] / t))
            x, before = (s / t) * x + (1 - s / t) * line, fitted
        result = own_solvers.dpm_solver(problem, exact, LEVELS, 5)
        torch.testing.assert_close(result, x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_cm4ir_on_normal_pixels(exact, eta):
    for problem in problems():
        noise = Noise([5])
        x = problem.x + LEVELS[0] * noise(problem.x)
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            # the consistency function of normal pixels ends at the same quantile
            clean = x * math.sqrt((S**2 + exact.sigma_min**2) / (S**2 + t**2))
            mixed = eta * noise(x) - math.sqrt(1 - eta**2) * (x - clean) / t
            x = problem.operator.fit(clean, problem.y) + s * mixed
        result = own_solvers.cm4ir(problem, exact, LEVELS, 5, eta=eta)
        torch.testing.assert_close(result, x, rtol=0, atol=3e-3)  # about the tolerance of the smooth fill


def test_physics_is_the_operator_of_the_task():
    pytest.importorskip("deepinv")
    for problem in problems():
        physics, y = physics_of(problem)
        x = torch.rand(2, *problem.x.shape[1:], generator=torch.Generator().manual_seed(2))
        A = problem.operator.A(x)
        torch.testing.assert_close(physics.A(x), A, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(physics.A_dagger(A), problem.operator.pinv(A), rtol=1e-4, atol=1e-5)
        z = torch.rand(A.shape, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(
            (A * problem.operator.A(physics.A_adjoint(z))).sum(), (A * physics.A_A_adjoint(z)).sum()
        )
        torch.testing.assert_close((physics.A_adjoint(z) * x).sum(), (z * A).sum(), rtol=1e-4, atol=1e-4)
        # the first estimate fits y: its measurement, in [0, 1], is y
        torch.testing.assert_close(y, problem.operator.A((problem.x + 1) / 2), rtol=1e-4, atol=1e-5)


def test_ddrm_at_one_level_is_the_mean_of_the_estimate_with_noise(exact):
    pytest.importorskip("deepinv")
    problem, _ = inpainting()
    result = deepinv_solvers.ddrm(problem, exact, [0.4], 5, eta=1.0)
    (n,) = global_noise(5, problem.x)
    expected = gain(0.4) * (problem.x + 0.4 / math.sqrt(2) * n)  # deepinv's sigma is larger than its noise
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


def test_ddrm_measured_pixels_are_the_measurement_at_each_level(exact):
    pytest.importorskip("deepinv")
    problem, mask = inpainting()
    result = deepinv_solvers.ddrm(problem, exact, LEVELS, 5, eta=1.0)
    n = global_noise(5, *[problem.x] * 3)[2]
    known = ~torch.from_numpy(mask)
    expected = gain(LEVELS[2]) * (problem.y + LEVELS[2] / math.sqrt(2) * n)
    torch.testing.assert_close(result[..., known], expected[..., known], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("zeta", [0.0, 0.3, 1.0])
def test_diffpir_on_normal_pixels(exact, zeta):
    pytest.importorskip("deepinv")
    lambda_, sigma = 7.0, 0.02
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])
        y = measured(problem)

        draws = [columns(n) for n in global_noise(5, *[problem.x] * 4)]
        x = columns(problem.x) + math.sqrt(LEVELS[0] ** 2 - 4 * sigma**2) * draws[0]
        for t, s, n in zip(LEVELS, [*LEVELS[1:], 0.0], draws[1:], strict=True):
            rho = 2 * lambda_ * sigma**2 / t**2  # argmin |A x - y|^2 + rho |x - clean|^2; deepinv's factor is 2
            clean = (gain(t) * x).clamp(-1, 1)
            clean = torch.linalg.solve(A.T @ A + rho * torch.eye(len(x)), A.T @ y + rho * clean)
            x = clean + s * (math.sqrt(1 - zeta) * (x - clean) / t + math.sqrt(zeta) * n)
        result = deepinv_solvers.diffpir(problem, exact, LEVELS, 5, zeta=zeta, lambda_=lambda_, sigma=sigma)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_dps_on_normal_pixels(exact, weight):
    pytest.importorskip("deepinv")
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])

        y = measured(problem)
        torch.manual_seed(5)
        x = columns(problem.x) + LEVELS[0] * columns(torch.randn_like(problem.x))
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            k, r = gain(t), (s / t) ** 2
            # the posterior of x_s given x_t and x_0 = k x, and a step of (1 - r) t^2 against the gradient
            step = (1 - r) * (k * x - weight * k * A.T @ (A @ (k * x) - y)) + r * x
            x = step + (s * math.sqrt(1 - r) * columns(torch.randn(problem.x.shape, dtype=torch.float64)) if s else 0)
        result = deepinv_solvers.dps(problem, exact, LEVELS, 5, weight=weight)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=1e-4)
