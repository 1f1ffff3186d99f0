"""Masks, resizing and external operators, against dense matrices, numpy's pseudo-inverse and Pillow."""

import doctest
import importlib
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore.errors import RestoreError
from bcm_restore.operators import Mask, Operator, Resize, as_operator
from bcm_restore.operators.banded import Banded
from bcm_restore.operators.resize import FILTERS, resampling

side = st.integers(1, 40)
filters = st.sampled_from(sorted(FILTERS))


def random_image(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def dense(function, shape):
    """The matrix of a linear function on (1, *shape), from its values on the basis."""
    basis = torch.eye(int(np.prod(shape)), dtype=torch.float64)
    return torch.stack([function(image.view(1, *shape)).flatten() for image in basis], dim=1).numpy()


def check_against_dense(operator, shape, measured):
    A, pinv = dense(operator.A, shape), dense(operator.pinv, measured)
    np.testing.assert_allclose(pinv, np.linalg.pinv(A), atol=1e-9)
    x, y = random_image(1, *shape, dtype=torch.float64), random_image(1, *measured, seed=1, dtype=torch.float64)
    expected = pinv @ y.numpy().ravel() + (np.eye(A.shape[1]) - pinv @ A) @ x.numpy().ravel()
    np.testing.assert_allclose(operator.fit(x, y).numpy().ravel(), expected, atol=1e-9)
    return A


def pillow_resize(x, size, filter):
    planes = [Image.fromarray(p.numpy()).resize(size[::-1], getattr(Image.Resampling, filter.upper())) for p in x[0]]
    return torch.from_numpy(np.stack([np.asarray(p) for p in planes]))[None]


# --- masks


def test_mask_against_dense():
    known = torch.tensor([[[[True, False, True], [False, False, True]]]])
    A = check_against_dense(Mask(known), (3, 2, 3), (3, 2, 3))
    np.testing.assert_array_equal(A, np.diag([1, 0, 1, 0, 0, 1] * 3))


def test_mask_keeps_known_pixels_bit_for_bit():
    known = random_image(2, 1, 9, 7) > 0
    x, y = random_image(2, 3, 9, 7, seed=1), random_image(2, 3, 9, 7, seed=2)
    y[~known.expand_as(y)] = torch.nan  # y is ignored elsewhere
    before, fitted = x.clone(), Mask(known).fit(x, y)
    where = known.expand_as(x)
    assert torch.equal(fitted[where], y[where]) and torch.equal(fitted[~where], x[~where])
    assert torch.equal(x, before)
    assert Mask(known).A(y).isfinite().all()


def test_one_mask_for_a_batch():
    known = random_image(1, 1, 4, 5) > 0
    x = random_image(3, 3, 4, 5)
    assert torch.equal(Mask(known).A(x), x * known)


def test_limits_clamp_unknown_pixels():
    known = torch.tensor([[[[True, False, False]]]])
    x, y = random_image(1, 3, 1, 3) * 5, random_image(1, 3, 1, 3, seed=1) * 5
    low, high = torch.full((1, 3, 1, 1), -0.5), torch.full((1, 3, 1, 1), 0.25)
    fitted = Mask(known, (low, high)).crop(slice(0, 1)).fit(x, y)
    assert torch.equal(fitted[..., 0], y[..., 0])
    assert torch.equal(fitted[..., 1:], x[..., 1:].clamp(-0.5, 0.25))


@pytest.mark.parametrize("known", [torch.ones(1, 1, 4, 4), torch.ones(4, 4, dtype=torch.bool)])
def test_mask_refuses_invalid_masks(known):
    with pytest.raises(RestoreError, match="bool of shape"):
        Mask(known)


def test_mask_refuses_images_of_another_size():
    mask = Mask(torch.ones(2, 1, 4, 4, dtype=torch.bool))
    for shape in [(1, 3, 4, 5), (3, 3, 4, 4)]:
        with pytest.raises(RestoreError, match="resize the mask"):
            mask.A(torch.zeros(shape))


# --- banded matrices


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), filters)
def test_banded_products_and_pinv_against_dense(length, new_length, filter):
    R = resampling(length, new_length, filter)
    M = np.zeros(R.shape)
    M[R.rows, R.columns] = R.values
    x = np.random.default_rng(0).standard_normal((length, 3))
    y = np.random.default_rng(1).standard_normal((new_length, 3))
    np.testing.assert_allclose(R(torch.from_numpy(x)), M @ x, atol=1e-12)
    np.testing.assert_allclose(R.T(torch.from_numpy(y)), M.T @ y, atol=1e-12)
    np.testing.assert_allclose(R.pinv(torch.from_numpy(y)), np.linalg.pinv(M) @ y, atol=1e-9)


def test_banded_of_entries_in_any_order_and_wide_bands():
    generator = np.random.default_rng(0)
    M = np.where(
        np.abs(np.subtract.outer(np.arange(150), np.arange(200))) < 70, generator.standard_normal((150, 200)), 0
    )
    rows, columns = M.nonzero()
    order = generator.permutation(len(rows))
    banded = Banded(rows[order], columns[order], M[rows, columns][order], M.shape)
    y = generator.standard_normal((150, 2))
    np.testing.assert_allclose(banded.pinv(torch.from_numpy(y)), np.linalg.pinv(M) @ y, atol=1e-8)


# --- resizing


@settings(max_examples=120, deadline=None)
@given(side, side, side, side, filters)
def test_resize_is_pillows(H, W, h, w, filter):
    x = random_image(1, 3, H, W)
    ours = Resize((H, W), size=(h, w), filter=filter).A(x)
    assert torch.allclose(ours, pillow_resize(x, (h, w), filter), atol=1e-5, rtol=0)


@pytest.mark.parametrize("filter", sorted(FILTERS))
@pytest.mark.parametrize(("size", "scale"), [((256, 192), 4), ((301, 67), 3), ((130, 97), 2), ((64, 200), 8)])
def test_resize_by_a_scale(size, scale, filter):
    operator = Resize(size, scale=scale, filter=filter)
    assert operator.size == (-(-size[0] // scale), -(-size[1] // scale))
    x, y = random_image(2, 3, *size), random_image(2, 3, *operator.size, seed=1)
    assert torch.allclose(operator.A(x)[:1], pillow_resize(x, operator.size, filter), atol=1e-5, rtol=0)
    before, fitted = x.clone(), operator.fit(x, y)
    assert torch.equal(x, before) and fitted.is_contiguous()
    assert (operator.A(fitted) - y).abs().max() < 1e-5
    assert (operator.fit(fitted, y) - fitted).abs().max() < 1e-5
    assert (operator.A(operator.pinv(y)) - y).abs().max() < 1e-5


@settings(max_examples=40, deadline=None)
@given(side, side, st.floats(1, 9), filters)
def test_fit_is_consistent_for_any_size_and_scale(H, W, scale, filter):
    operator = Resize((H, W), scale=scale, filter=filter)
    x, y = random_image(1, 3, H, W), random_image(1, 3, *operator.size, seed=1)
    assert (operator.A(operator.fit(x, y)) - y).abs().max() < 1e-4


@pytest.mark.parametrize("filter", sorted(FILTERS))
def test_resize_against_dense(filter):
    check_against_dense(Resize((7, 5), scale=2, filter=filter), (3, 7, 5), (3, 4, 3))
    check_against_dense(Resize((3, 4), size=(5, 6), filter=filter), (3, 3, 4), (3, 5, 6))


@settings(max_examples=40, deadline=None)
@given(side, side, st.sampled_from([2, 3, 4, 8]), filters)
def test_upscale_is_pillows_bicubic(h, w, scale, filter):
    y = random_image(1, 3, h, w)
    ours = Resize((h * scale, w * scale), scale=scale, filter=filter).upscale(y)
    assert torch.allclose(ours, pillow_resize(y, (h * scale, w * scale), "bicubic"), atol=1e-5, rtol=0)


def test_resize_follows_the_dtype():
    operator = Resize((16, 16), scale=4)
    x = random_image(1, 3, 16, 16, dtype=torch.float64)
    error = operator.A(x.float()).double() - operator.A(x)
    assert operator.A(x).dtype == torch.float64 and 0 < error.abs().max() < 1e-6


@pytest.mark.parametrize(
    "arguments",
    [{}, {"scale": 2, "size": (2, 2)}, {"scale": 0}, {"scale": -1}, {"scale": float("nan")}, {"size": (0, 3)},
     {"scale": 2, "filter": "nearest"}],
)  # fmt: skip
def test_resize_refuses(arguments):
    with pytest.raises(RestoreError):
        Resize((8, 8), **arguments)


def test_resize_refuses_other_images():
    operator = Resize((8, 8), scale=2)
    for x in [torch.zeros(1, 3, 8, 9), torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]:
        with pytest.raises(RestoreError, match="float images"):
            operator.A(x)
    with pytest.raises(RestoreError, match="float images"):
        operator.pinv(torch.zeros(1, 3, 8, 8))


def test_large_pictures_are_fast():
    x, start = torch.zeros(1, 3, 2000, 3000), time.perf_counter()
    operator = Resize((2000, 3000), scale=4)
    operator.fit(x, torch.zeros(1, 3, 500, 750))
    assert time.perf_counter() - start < 5  # measured: 0.3; a dense pseudo-inverse takes longer


# --- any operator


class Physics:
    """Mimics deepinv's physics: a blur by one matrix along the rows."""

    matrix = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])

    def A(self, x, **parameters):
        return self.matrix @ x

    def A_dagger(self, y, **parameters):
        return torch.linalg.pinv(self.matrix) @ y


def test_deepinv_physics_are_operators():
    operator = as_operator(Physics())
    x, y = random_image(2, 3, 4, 4), random_image(2, 3, 2, 4, seed=1)
    fitted = operator.fit(x, y)
    assert isinstance(operator, Operator)
    assert torch.allclose(operator.A(fitted), y, atol=1e-6)
    assert torch.allclose(fitted - x, operator.pinv(y - operator.A(x)), atol=1e-6)


def test_operators_are_not_wrapped():
    mask = Mask(torch.ones(1, 1, 2, 2, dtype=torch.bool))
    assert as_operator(mask) is mask
    with pytest.raises(RestoreError, match="str is not an operator"):
        as_operator("blur")


@pytest.mark.parametrize("module", ["base", "mask", "banded", "resize", "chain", "noise_level"])
def test_docstring_examples(module):
    results = doctest.testmod(importlib.import_module(f"bcm_restore.operators.{module}"))
    assert results.attempted > 0 and results.failed == 0
