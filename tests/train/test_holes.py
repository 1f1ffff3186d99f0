import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bcm_restore.train import holes
from bcm_restore.train.holes import boxes, half_planes, pixels, random_known, strokes


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(2, 40), st.integers(0, 2**31))
def test_every_mask_has_known_and_hidden_pixels(count, side, seed):
    known = random_known(count, side, seeded(seed))
    assert known.shape == (count, 1, side, side)
    assert known.dtype == torch.bool
    assert known.flatten(1).any(1).all()
    assert (~known).flatten(1).any(1).all()


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([pixels, boxes, strokes, half_planes]), st.integers(1, 9), st.integers(1, 33))
def test_each_kind_has_the_given_shape_and_depends_on_the_generator_state(kind, count, side):
    hole = kind(count, side, seeded(3))
    assert hole.shape == (count, side, side) and hole.dtype == torch.bool
    assert torch.equal(hole, kind(count, side, seeded(3)))


def test_masks_depend_on_the_generator_state_and_advance_it():
    generator = seeded(1)
    first, second = random_known(8, 24, generator), random_known(8, 24, generator)
    assert torch.equal(first, random_known(8, 24, seeded(1)))
    assert not torch.equal(first, second)


def test_independent_pixels_are_hidden_in_shares_from_30_to_95_percent():
    hole = pixels(600, 64, seeded()).double()
    shares = hole.mean((1, 2))
    assert 0.27 < shares.min() < 0.33 and 0.92 < shares.max() < 0.97
    assert abs(shares.mean() - 0.625) < 0.03
    centred = hole - shares[:, None, None]
    for neighbours in (centred[:, 1:] * centred[:, :-1], centred[:, :, 1:] * centred[:, :, :-1]):
        assert abs(neighbours.mean()) < 2e-3


@pytest.mark.parametrize("kind", range(4))
def test_masks_of_one_kind_are_that_kind(kind, monkeypatch):
    """Masks are those of the kind, but for one known and one hidden pixel at two corners."""
    names = ["pixels", "boxes", "strokes", "half_planes"]
    for n, name in enumerate(names):
        filled = torch.full((50, 16, 16), n == kind)
        monkeypatch.setattr(holes, name, lambda count, side, generator, filled=filled: filled.clone())
    hidden = ~random_known(50, 16, seeded())[:, 0, 1:-1, 1:-1]
    whole = hidden.flatten(1).all(1)
    assert torch.equal(whole, hidden.flatten(1).any(1))
    shares = torch.cat([~random_known(50, 16, seeded(n))[:, 0, 8, 8] for n in range(60)]).double().mean().item()
    assert shares == pytest.approx(holes.SHARES[kind], abs=0.04)


@pytest.fixture
def one_shape(monkeypatch):
    """Keeps only the first shape of each image."""
    monkeypatch.setattr(holes, "_first", lambda shapes, most, generator: shapes[:, 0])


def test_a_box_is_a_filled_rectangle_of_a_tenth_to_two_thirds_of_the_side(one_shape):
    inner = []
    for hole in boxes(300, 50, seeded()).numpy():
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1) if len(rows) else True
        inner += [np.ptp(line) + 1 for line in (rows, columns) if len(line) and line[0] > 0 and line[-1] < 49]
    assert 4 <= min(inner) <= 7 and 29 <= max(inner) <= 34


def test_a_stroke_is_one_connected_piece(one_shape):
    drawn = [hole for hole in strokes(300, 40, seeded()).numpy() if hole.any()]
    assert len(drawn) > 200
    for hole in drawn:
        assert ndimage.label(hole, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize(("angle", "radius"), [(0.0, 0.7), (0.0, 3.2), (0.25, 3.2), (0.125, 7.5)])
def test_a_stroke_is_all_pixels_within_half_its_width_of_a_segment(angle, radius, one_shape, monkeypatch):
    """A stroke of length 19 from (12.3, 6.1), compared with the distance to many points on it."""
    row, column, length, side = 12.3, 6.1, 19.0, 40
    start = [(v / side + 0.1) / 1.2 for v in (row, column)]
    numbers = iter([torch.tensor(start), torch.tensor(angle), torch.tensor(length / side) ** 0.5])
    rest = torch.tensor((radius - 0.7) / 6.8) ** 0.5
    monkeypatch.setattr(holes, "_numbers", lambda *shape, generator: next(numbers, rest).expand(shape))
    hole = strokes(1, side, seeded())[0].numpy()
    along = np.linspace(0, length, 5000)
    points = np.stack([row + along * math.sin(2 * math.pi * angle), column + along * math.cos(2 * math.pi * angle)], 1)
    y, x = np.mgrid[:side, :side] + 0.5
    distance = np.sqrt((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).min(-1)
    clear = abs(distance - radius) > 1e-3
    assert (hole == (distance < radius))[clear].all()
    if angle == 0:  # the rows it covers, halfway along
        assert hole[:, 15].sum() == np.sum(abs(np.arange(side) + 0.5 - row) < radius)


def test_strokes_are_1_to_15_pixels_wide(one_shape, monkeypatch):
    """Long horizontal strokes through the middle: their height is the width."""
    drawn = holes._numbers
    fixed = iter([torch.tensor([0.5, 0.0]), torch.tensor(0.0), torch.tensor(1.0)])
    monkeypatch.setattr(
        holes,
        "_numbers",
        lambda *shape, generator: (
            next(fixed, torch.empty(0)).expand(shape) if shape[-1:] != (1,) else drawn(*shape, generator=generator)
        ),
    )
    widths = strokes(500, 40, seeded())[:, :, 20].sum(1)
    assert set(widths.tolist()) >= {2, 4, 8, 14} and widths.min() >= 1 and widths.max() <= 15
    assert widths.double().median() < 6


def test_images_have_one_to_all_of_their_shapes():
    count = holes._first(torch.eye(12, dtype=torch.bool).view(1, 12, 1, 12).expand(4000, 12, 1, 12), 12, seeded())
    numbers, often = count.sum((1, 2)).unique(return_counts=True)
    assert numbers.tolist() == list(range(1, 13))
    assert often.min() > 230 and often.max() < 440


def test_a_half_plane_has_a_straight_edge_near_the_middle():
    """No row or column changes twice, all change in the same direction, and both sides are large."""
    for hole in half_planes(300, 32, seeded()).numpy():
        for axis in (0, 1):
            steps = np.diff(hole.astype(int), axis=axis)
            assert abs(steps).sum(axis).max() <= 1
            assert not ((steps > 0).any() and (steps < 0).any())
        assert 0.03 < hole.mean() < 0.97
