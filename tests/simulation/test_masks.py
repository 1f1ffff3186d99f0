"""Simulated masks."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from helpers.data import INPAINT, RANDOM, rng
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bcm_restore.bench.cases import cases
from bcm_restore.errors import RestoreError
from bcm_restore.simulation import masks


def test_masks_have_the_order_of_papers():
    assert list(masks.MASKS) == INPAINT


@pytest.mark.parametrize("name", INPAINT)
@pytest.mark.parametrize("size", [(64, 64), (65, 67), (64, 300), (300, 64)])
def test_a_mask_depends_only_on_the_generator_and_keeps_pixels(name, size):
    mask = masks.MASKS[name](rng(), size)
    assert (mask.shape, mask.dtype) == (size, bool)
    assert 0 < mask.sum() < mask.size
    assert np.array_equal(mask, masks.MASKS[name](rng(), size))
    assert np.array_equal(mask, masks.MASKS[name](rng(1), size)) == (name not in RANDOM)


@pytest.mark.parametrize("name", INPAINT)
def test_masks_of_large_pictures(name):
    size = (4000, 2000)
    mask = masks.MASKS[name](rng(), size)
    assert mask.shape == size
    quarters = [mask[:2000, :1000], mask[2000:, :1000], mask[:2000, 1000:], mask[2000:, 1000:]]
    if name not in ("half", "freeform-10-20", "freeform-20-30"):
        assert all(quarter.any() for quarter in quarters)


def test_box_is_centred_with_half_the_sides():
    ys, xs = np.nonzero(masks.box(rng(), (256, 256)))
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (64, 191, 64, 191)
    assert masks.box(rng(), (256, 256)).sum() == 128 * 128
    assert masks.box(rng(), (101, 66)).sum() == 50 * 33


def test_half_is_the_right_half():
    assert np.array_equal(np.nonzero(masks.half(rng(), (64, 101)).all(axis=0))[0], np.arange(50, 101))


@settings(deadline=None)
@given(st.tuples(st.integers(64, 300), st.integers(64, 300)), st.integers(0, 2**32), st.sampled_from([10, 20]))
@example((64, 4000), 0, 10)
@example((4000, 64), 0, 20)
@example((1800, 4000), 1, 10)
def test_freeform_masks_cover_the_share_in_their_name(size, seed, low):
    mask = masks.MASKS[f"freeform-{low}-{low + 10}"](rng(seed), size)
    assert mask.shape == size
    assert low <= 100 * mask.mean() <= low + 10


@pytest.mark.parametrize("side", [64, 65, 72, 100, 256, 1000])
def test_no_segment_of_a_stroke_exceeds_the_range(side):
    """`freeform` relies on this: the longest and widest segment covers less than 0.1 of a square."""
    for angle in np.linspace(0, np.pi / 2, 50):
        canvas = np.zeros((2 * side, 2 * side), np.uint8)
        first, last = (side // 2 + round(0.35 * side * way) for way in (0, np.cos(angle)))
        cv2.line(canvas, (first, first), (last, first + round(0.35 * side * np.sin(angle))), 1, round(side * 40 / 256))
        assert canvas.sum() < 0.1 * side**2


def test_strokes_stay_within_their_limits():
    segments = masks._segments(rng(), (256, 512))
    drawn = [next(segments) for _ in range(2000)]
    widths = [width for *_, width in drawn]
    assert (min(widths), max(widths)) == (12, 40)
    assert all(0 <= x < 512 and 0 <= y < 256 for ends in drawn for x, y in ends[:2])
    lengths = [np.hypot(*np.subtract(start, end)) for start, end, _ in drawn]
    assert 0.3 * 256 < max(lengths) < 0.35 * 256 + 2
    joined = [a[1] == b[0] and a[2] == b[2] for a, b in pairwise(drawn)]
    assert 4 <= len(drawn) / joined.count(False) <= 12  # segments per stroke


@pytest.mark.parametrize("size", [(64, 64), (120, 640), (30, 880)])
def test_text_masks_of_recorded_benchmarks_are_unchanged(size):
    words = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"
    generator, drawn = rng(3), np.zeros(size, np.uint8)
    for y in range(14, size[0], 21):
        cv2.putText(drawn, words, (int(generator.integers(-60, 20)), y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    assert np.array_equal(masks.text(rng(3), size), drawn > 0)


@pytest.mark.parametrize("width", [64, 881, 940, 1760, 4000])
def test_text_spans_the_width(width):
    assert masks.text(rng(), (100, width))[:, -60:].any()


def test_boxes_and_random_pixels_of_recorded_benchmarks_are_unchanged():
    boxes = np.zeros((200, 300), bool)
    for y, x in ((109, 210), (11, 211), (79, 137)):
        boxes[y : y + 32, x : x + 32] = True
    assert np.array_equal(masks.boxes(rng(5), (200, 300)), boxes)
    assert np.packbits(masks.random_80(rng(5), (4, 8))).tolist() == [246, 127, 238, 250]


def test_a_given_mask_is_resized_by_nearest_neighbour():
    mask = np.zeros((2, 4), bool)
    mask[0, 1] = True
    make = masks.fixed(mask)
    assert np.array_equal(make(rng(), (2, 4)), mask)
    assert np.array_equal(make(rng(), (6, 12)), np.kron(mask, np.ones((3, 3), bool)))
    dot = np.zeros((64, 64), bool)
    dot[0, 0] = True
    with pytest.raises(RestoreError, match=r"^--mask: marks no pixel at 4x2; make it white where .* black elsewhere$"):
        masks.fixed(dot)(rng(), (2, 4))


@pytest.mark.parametrize(
    ("mask", "what"), [(np.zeros((3, 5), bool), "no pixel"), (np.ones((3, 5), bool), "every pixel")]
)
def test_an_empty_or_full_mask_raises_an_error(mask, what):
    with pytest.raises(RestoreError, match=f"^--mask: marks {what} at 5x3; "):
        cases("inpaint", mask=mask)
