"""Linear operators with an adjoint, operators relaxed for noise, and operators for images in [0, 1]."""

import doctest
import importlib

import numpy as np
import pytest
import torch

from bcm_restore.operators import Linear, Luma, Mask, Operator, Relaxed, UnitRange, as_operator

SHAPE = (3, 2, 4)


class Matrix:
    """A matrix (m, 24) on images (B, 3, 2, 4)."""

    def __init__(self, matrix):
        self.matrix = matrix

    def A(self, x):
        return x.flatten(1).to(self.matrix.dtype) @ self.matrix.T

    def A_adjoint(self, y):
        return (y @ self.matrix.conj()).real.float().view(-1, *SHAPE)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def projected(matrix, x, y):
    """x + A^+ (y - A x) by NumPy, in float64."""
    A = matrix.numpy().astype(np.float64)
    flat = x.flatten(1).numpy().astype(np.float64)
    return torch.from_numpy(flat + (y.numpy() - flat @ A.T) @ np.linalg.pinv(A).T).view_as(x).float()


@pytest.fixture
def wide():
    return random(10, 24)


def test_fit_is_the_projection(wide):
    operator, x, y = as_operator(Matrix(wide)), random(2, *SHAPE, seed=1), random(2, 10, seed=2)
    assert isinstance(operator, Linear)
    fitted = operator.fit(x, y)
    assert torch.allclose(operator.A(fitted), y, atol=2e-2)
    assert torch.allclose(fitted, projected(wide, x, y), atol=2e-2)
    assert torch.allclose(operator.pinv(y), projected(wide, torch.zeros_like(x), y), atol=2e-2)


def test_measurements_that_contradict_each_other():
    """The least squares solution that is nearest to x."""
    tall = random(30, 24)
    x, y = random(1, *SHAPE, seed=1), random(1, 30, seed=2)
    assert torch.allclose(Linear(Matrix(tall)).fit(x, y), projected(tall, x, y), atol=2e-2)


def test_images_of_a_batch_are_independent(wide):
    x, y = random(3, *SHAPE, seed=1), random(3, 10, seed=2)
    y[1] = Matrix(wide).A(x[1:2])  # already consistent
    together = Linear(Matrix(wide)).fit(x, y)
    assert torch.equal(together[1], x[1])
    for n in range(3):
        alone = Linear(Matrix(wide)).fit(x[n : n + 1], y[n : n + 1])
        assert torch.allclose(together[n : n + 1], alone, atol=1e-5)


def test_complex_measurements():
    fourier = torch.complex(random(6, 24), random(6, 24, seed=3))
    x = random(1, *SHAPE, seed=1)
    y = Matrix(fourier).A(random(1, *SHAPE, seed=2))
    assert torch.allclose(Matrix(fourier).A(Linear(Matrix(fourier)).fit(x, y)), y, atol=3e-3)


def test_zero_measurements():
    x = torch.zeros(1, *SHAPE)
    assert torch.equal(Linear(Matrix(random(10, 24))).fit(x, torch.zeros(1, 10)), x)


def test_what_is_left_is_the_noise(wide):
    x, y, noise = random(2, *SHAPE, seed=1), random(2, 10, seed=2), torch.tensor([0.5, 2.0])
    left = y - Matrix(wide).A(Linear(Matrix(wide), noise).fit(x, y))
    assert torch.allclose(left.norm(dim=1), noise, rtol=1e-3)


def test_the_noise_of_orthonormal_rows_is_left_exactly():
    """There the nearest image whose residual has norm e is x + (1 - e / |r|) A^T r."""
    rows = torch.linalg.qr(random(24, 24)).Q[:10]
    x, y, e = random(1, *SHAPE, seed=1), random(1, 10, seed=2), torch.tensor([0.7])
    r = y - Matrix(rows).A(x)
    nearest = x + (1 - e / r.norm()) * (r @ rows).view_as(x)
    assert torch.allclose(Linear(Matrix(rows), e).fit(x, y), nearest, atol=1e-5)
    assert torch.allclose(Relaxed(Linear(Matrix(rows)), e).fit(x, y), nearest, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "relaxed"])
def test_differences_below_the_noise_change_nothing(wide, kind):
    x, y = random(1, *SHAPE, seed=1), random(1, 10, seed=2)
    noise = 1.01 * (y - Matrix(wide).A(x)).norm()[None]
    operator = Linear(Matrix(wide), noise) if kind == "linear" else Relaxed(Linear(Matrix(wide)), noise)
    assert torch.equal(operator.fit(x, y), x)


# --- images in [0, 1]


class Fade(Operator):
    """Halves images; its values are those of [0, 1]."""

    def A(self, x):
        return x / 2

    def pinv(self, y):
        return y * 2


def test_the_measurements_are_those_of_images_in_0_to_1():
    u, x = torch.rand(2, 3, 4, 5), random(2, 3, 4, 5)
    operator = UnitRange(Fade())
    assert torch.allclose(operator.A(2 * u - 1), u / 2)
    assert torch.allclose(operator.pinv(u / 2), 2 * u - 1, atol=1e-6)
    assert torch.allclose(operator.fit(x, u / 2), 2 * u - 1, atol=1e-6)


def test_an_operator_for_grey_images():
    known = torch.tensor([[[[True, False]]]])
    operator, x = UnitRange(Mask(known), channels=1), random(1, 3, 1, 2)
    y = torch.tensor([[[[0.25, 0.0]]]])
    assert torch.allclose(operator.A(x)[0, 0, 0], torch.stack([(x[0, :, 0, 0].mean() + 1) / 2, torch.tensor(0.0)]))
    fitted = operator.fit(x, y)
    assert torch.allclose(fitted[0, :, 0, 0], torch.full((3,), -0.5))
    assert torch.allclose(fitted[0, :, 0, 1], x[0, :, 0, 1].mean().expand(3), atol=1e-6)


# --- luma


def test_luma_as_in_jpeg():
    x = torch.rand(2, 3, 4, 5) * 2 - 1
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.allclose(Luma().A(x), (x * weights).sum(1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_the_luma_is_kept_within_the_range(spread):
    x, y = spread * random(2, 3, 8, 8), torch.rand(2, 1, 8, 8) * 2 - 1
    y[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    fitted = Luma().fit(x, y)
    assert fitted.abs().max() <= 1 + 1e-6
    assert torch.allclose(Luma().A(fitted.clamp(-1, 1)), y, atol=1e-5)
    assert torch.allclose(Luma().fit(fitted, y), fitted, atol=1e-5)


def test_the_chroma_is_kept_where_the_range_allows_it():
    x, y = 0.1 * random(1, 3, 8, 8), 0.1 * random(1, 1, 8, 8, seed=1)
    difference = Luma().fit(x, y) - x
    assert torch.allclose(difference, difference.mean(1, keepdim=True).expand_as(x), atol=1e-6)


def test_grey_stays_grey():
    y = torch.rand(1, 1, 4, 4) * 2 - 1
    grey = Luma().pinv(y)
    assert torch.equal(grey, y.expand(1, 3, 4, 4)) and torch.equal(Luma().A(grey), y)
    assert torch.equal(Luma().fit(grey, y), grey)


@pytest.mark.parametrize("module", ["linear", "unit_range", "luma"])
def test_docstring_examples(module):
    results = doctest.testmod(importlib.import_module(f"bcm_restore.operators.{module}"))
    assert results.attempted > 0 and results.failed == 0
