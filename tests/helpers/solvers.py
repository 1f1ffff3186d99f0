"""Problems of normal pixels, whose posterior mean is known, for the tests of solvers."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from helpers.toys import Around, ExactF

from bcm_restore import tasks
from bcm_restore.bench.base import Case, Sample
from bcm_restore.bench.contestants.solvers import SOLVERS, solvers
from bcm_restore.model import BCM
from bcm_restore.simulation.degradations import VARIANTS

S = 0.3  # standard deviation of the normal pixels
LEVELS = [0.6, 0.2, 0.05]
ON_DEEPINV = [name for name, solver in SOLVERS.items() if solver.deepinv]
EACH = [
    pytest.param(
        name, marks=pytest.mark.skipif(not importlib.util.find_spec("deepinv"), reason="deepinv is not installed")
    )
    if name in ON_DEEPINV
    else name
    for name in SOLVERS
]

CASES = [("inpaint", "text"), ("inpaint", "boxes"), ("super-resolve", "x4"), ("super-resolve", "x3")]


def normal_pixels(**options):
    return BCM(Around(ExactF(S)), device="cpu", **options)


def case_of(task, variant):
    return Case(task, variant, VARIANTS[task][variant])


def sample_of(case, clean, seed=0):
    return Sample("picture", case.degrade(clean, np.random.default_rng(seed)))


def contestant(name, nfe, model, seed=0):
    (found,) = solvers([name], [nfe], model, {"name": "toy"}, seed)
    return found


def inpainting():
    """Pixels in [-1, 1], the left half known."""
    y = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1)) - 0.5
    mask = np.zeros((12, 16), bool)
    mask[:, 8:] = True
    return tasks.get("inpaint").problem(y, mask=mask), mask


def enlarging():
    y = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(1)) - 0.5
    return tasks.get("super-resolve").problem(y, scale=3)


def problems():
    return inpainting()[0], enlarging()


def dense(operator, size):
    """The matrix of A for one channel, from the images of the basis, and its pseudo-inverse."""
    basis = torch.eye(math.prod(size), dtype=torch.float64).view(-1, 1, *size).expand(-1, 3, -1, -1)
    A = operator.A(basis)[:, 0].flatten(1).T
    return A, torch.linalg.pinv(A)


def columns(image):
    """(1, 3, H, W) to one column per channel, for `dense`."""
    return image[0].flatten(1).T.double()


def measured(problem):
    """The columns of y, zero where it has no measurement."""
    return columns(torch.where(getattr(problem.operator, "known", torch.tensor(True)), problem.y, 0))


def global_noise(seed, *like):
    torch.manual_seed(seed)
    return [torch.randn_like(x) for x in like]


def gain(t):
    return S**2 / (S**2 + t**2)
