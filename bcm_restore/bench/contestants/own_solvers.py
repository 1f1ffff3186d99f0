"""Solvers written here with our network at our NFE: DDNM, CM4IR, DDS, RED-diff, and DDNM by DPM-Solver++."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ... import ode, schemes
from ...model import BCM, Noise
from ...operators import Operator
from ...operators.blur import conjugate_gradients
from ...tasks import Problem

CG_STEPS = 5  # of DDS, as in the paper


def ddnm(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, eta: float) -> Tensor:
    """Denoising diffusion null-space model (arXiv 2212.00490), without noise in y.

    At each level x_0 = D(x, t), then x = A^+ y + (I - A^+ A) x_0 + s (eta n + sqrt(1 - eta^2) (x - x_0) / t), where s
    is the next level and n fresh noise.

    Args:
        problem: the inverse problem.
        model: its `nfe` grows by one for each noise level.
        levels: noise levels, decreasing, above 0.
        seed: of the noise.
        eta: fraction of fresh noise.

    Returns:
        (B, 3, H, W) in about [-1, 1].
    """
    noise = Noise([seed] * len(problem.x))
    x = problem.x + levels[0] * noise(problem.x)
    for t, s in pairwise([*levels, 0.0]):
        clean = model.mean(x, t)
        n = eta * noise(x) + math.sqrt(1 - eta**2) * (x - clean) / t
        x = project(problem.operator, clean, problem.y) + s * n
    return x


def cm4ir(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, eta: float) -> Tensor:
    """Few-step guidance of consistency models (CM4IR, arXiv 2412.20596), without its offsets delta, as our scheme.

    x_0 is the consistency function's output. The removed noise is added again with its sign reversed, which moves x_0
    further in the same direction, like momentum. Without the reversal the result is up to 5 dB worse.

    Args:
        problem, model, levels, seed: see `ddnm`.
        eta: fraction of fresh noise.
    """
    first, *others = levels
    text = ", ".join([f"noise {first!r}, to 0, fit", *(f"renoise {t!r} {eta!r}, to 0, fit" for t in others)])
    noise = Noise([seed] * len(problem.x))
    return schemes.run(schemes.parse(text), model, problem.x, problem.operator, problem.y, noise)


def dds(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, eta: float, gamma: float) -> Tensor:
    """Decomposed diffusion sampling (DDS, arXiv 2303.05754), with alpha = 1 and sigma = t.

    DDNM with x_0 = argmin_x gamma |y - A x|^2 + |x - D(x_t, t)|^2 instead of the projection, by a few steps of
    conjugate gradients that start at D(x_t, t).

    Args:
        problem, model, levels, seed: see `ddnm`.
        eta: fraction of fresh noise.
        gamma: weight of the measurements.
    """
    noise = Noise([seed] * len(problem.x))
    x = noised(problem, levels[0], noise)
    for t, s in pairwise([*levels, 0.0]):
        clean = model.mean(x, t)
        n = eta * noise(x) + math.sqrt(1 - eta**2) * (x - clean) / t
        x = proximal(problem.operator, clean, problem.y, gamma) + s * n
    return x


def noised(problem: Problem, level: float, noise: Noise) -> Tensor:
    """The first estimate, which is at level t0, with noise up to another level, if that is higher."""
    return problem.x + math.sqrt(max(level**2 - problem.t0**2, 0.0)) * noise(problem.x)


def proximal(operator: Operator, x: Tensor, y: Tensor, gamma: float) -> Tensor:
    """argmin_z gamma |y - A z|^2 + |z - x|^2: the step d = z - x solves (gamma A^T A + I) d = gamma A^T (y - A x)."""
    measured = operator.A(x)

    def normal(d: Tensor) -> Tensor:
        return d + gamma * adjoint(operator, operator.A(x + d) - measured, like=x)

    right = gamma * adjoint(operator, y - measured, like=x)
    return x + conjugate_gradients(normal, right, lambda r: r, CG_STEPS)


def adjoint(operator: Operator, y: Tensor, like: Tensor) -> Tensor:
    """A^T y of a linear operator, of the shape of `like`, by automatic differentiation."""
    with torch.enable_grad():
        x = like.detach().requires_grad_()
        (found,) = torch.autograd.grad(operator.A(x), x, y)
    return found


def reddiff(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, rate: float, weight: float) -> Tensor:
    """RED-diff, a variational sampler (arXiv 2305.04391, alg. 1): descends to the mean mu of an approximate posterior.

    The loss is |y - A mu|^2 / 2 + lambda_t (eps(mu + t n, t) - n)^T mu with the network's noise eps. With lambda_t
    proportional to t, the inverse of the signal-to-noise ratio as in the paper, the gradient of the second term is
    weight (mu - D(mu + t n, t)): regularisation by denoising. The optimizer is gradient descent: the authors' Adam,
    whose first steps move all pixels equally far, needs more evaluations.

    Args:
        problem, model, levels, seed: see `ddnm`.
        rate: length of the steps.
        weight: of the denoiser against the measurements.
    """
    noise = Noise([seed] * len(problem.x))
    mu = problem.x
    for t in levels:
        clean = model.mean(mu + t * noise(mu), t)
        misfit = adjoint(problem.operator, problem.operator.A(mu) - problem.y, like=mu)
        mu = mu - rate * (misfit + weight * (mu - clean))
    return mu


def dpm_solver(problem: Problem, model: BCM, levels: Sequence[float], seed: int) -> Tensor:
    """DDNM without fresh noise, its ODE solved by DPM-Solver++ (2M, arXiv 2211.01095): D is fitted at each level.

    Args:
        problem: also of an operator that is not linear; its own `fit` is used.
        model, levels, seed: see `ddnm`.
    """
    x = noised(problem, levels[0], Noise([seed] * len(problem.x)))
    return ode.dpm_solver(lambda x, t: problem.operator.fit(model.mean(x, t), problem.y), x, [*levels, 0.0])


def project(operator: Operator, x: Tensor, y: Tensor) -> Tensor:
    """Projects x onto the measurements: A^+ y + (I - A^+ A) x. An operator's own `fit` may do more."""
    return Operator.fit(operator, x, y)
