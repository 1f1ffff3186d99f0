"""Published solvers of the probability-flow ODE, on the posterior mean: DDIM, DPM-Solver++ (2M), DEIS and BDIA.

The ODE in EDM's form (arXiv 2206.00364, eq. 1): dx/dt = (x - D(x, t)) / t, with the posterior mean D and the level t.
Each solver evaluates D once at every level but the last, which may be 0. DDIM and BDIA also go up, from image to noise.
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]  # D(x, t)
Solver = Callable[[Denoise, Tensor, Sequence[float]], Tensor]

DEIS_ORDER = 3  # as recommended in the paper for few steps


def ddim(denoise: Denoise, x: Tensor, levels: Sequence[float]) -> Tensor:
    """DDIM (arXiv 2010.02502, eq. 13): Euler's method in the level.

    Args:
        denoise: the posterior mean.
        x: (B, C, H, W) at the first level.
        levels: decreasing, or increasing to find the noise of an image.
    """
    for t, s in itertools.pairwise(levels):
        x = x + (s - t) * (x - denoise(x, t)) / t
    return x


def bdia(
    denoise: Denoise, x: Tensor, levels: Sequence[float], gamma: float = 1.0, second: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """BDIA-DDIM, exactly invertible (arXiv 2307.10829), with the slope d_i = (z_i - D(z_i, t_i)) / t_i:

        z_(i-1) = z_i + gamma (z_(i+1) - z_i - (t_(i+1) - t_i) d_i) + (t_(i-1) - t_i) d_i

    The same formula with 1 / gamma gives z_(i+1) from z_(i-1) and z_i: going back from the last two states, along the
    same levels, ends at the first two.

    Args:
        denoise: the posterior mean.
        x: (B, C, H, W) at the first level.
        levels: decreasing, or increasing to find the noise of an image.
        gamma: 0 is DDIM; its inverse to go back.
        second: the state at the second level; None: a step of DDIM. NFE is one less if it is given.

    Returns:
        The states at the last level and at the last but one.
    """
    if second is None:
        second = ddim(denoise, x, levels[:2])
    for p, t, s in zip(levels, levels[1:], levels[2:], strict=False):
        d = (second - denoise(second, t)) / t
        x, second = second, second + gamma * (x - second - (p - t) * d) + (s - t) * d
    return second, x


def dpm_solver(denoise: Denoise, x: Tensor, levels: Sequence[float]) -> Tensor:
    """DPM-Solver++ (2M): D is linear in log t over two steps (arXiv 2211.01095, alg. 2, with alpha = 1, sigma = t).

    The first step, and one to level 0, are of first order, which is DDIM.

    Args:
        denoise: the posterior mean.
        x: (B, C, H, W) at the first level.
        levels: decreasing; NFE is their number less one.
    """
    before: Tensor | None = None
    ratio = 0.0  # log of the last step's levels
    for t, s in itertools.pairwise(levels):
        mean = denoise(x, t)
        h = float(np.log(t / s)) if s else np.inf
        extrapolated = mean
        if before is not None and s:
            extrapolated = mean + (mean - before) * (h / (2 * ratio))
        x = (s / t) * x + (1 - s / t) * extrapolated
        before, ratio = mean, h
    return x


def deis(denoise: Denoise, x: Tensor, levels: Sequence[float]) -> Tensor:
    """DEIS, tAB: the noise (x - D) / t is a polynomial in t through the last evaluations (arXiv 2204.13902, eq. 14).

    Args:
        denoise: the posterior mean.
        x: (B, C, H, W) at the first level.
        levels: decreasing; NFE is their number less one.
    """
    past: deque[tuple[float, Tensor]] = deque(maxlen=DEIS_ORDER + 1)
    for t, s in itertools.pairwise(levels):
        past.appendleft((t, (x - denoise(x, t)) / t))
        weights = integrals([level for level, _ in past], t, s)
        x = x + sum(weight * noise for weight, (_, noise) in zip(weights, past, strict=True))
    return x


def integrals(nodes: Sequence[float], start: float, stop: float) -> list[float]:
    """The integral from `start` to `stop` of each Lagrange polynomial of the nodes."""
    found = []
    for n, node in enumerate(nodes):
        others = [other for k, other in enumerate(nodes) if k != n]
        lagrange = np.polynomial.Polynomial.fromroots(others) if others else np.polynomial.Polynomial([1.0])
        primitive = lagrange.integ()
        found.append(float((primitive(stop) - primitive(start)) / lagrange(node)))
    return found


SOLVERS: dict[str, Solver] = {"dpm-solver++": dpm_solver, "deis": deis}


def karras_levels(count: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """(count,) noise levels from sigma_min up to sigma_max, in float64 (EDM, eq. 5)."""
    ends = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.linspace(*ends, count, dtype=torch.float64) ** rho


def ladder(nfe: int, first: float, last: float = 0.002) -> list[float]:
    """`nfe` levels of `karras_levels` from `first` down to `last`, then 0."""
    levels = karras_levels(nfe, last, first).flip(0).tolist() if nfe > 1 else [first]
    return [*levels, 0.0]
