from hypothesis import given
from hypothesis import strategies as st

from bcm_restore.spans import bands, even, middle, steps, tiles, widened


def covers(spans, start, stop):
    """Whether they follow each other from one end to the other."""
    borders = [start, *(span.stop for span in spans)]
    return borders[-1] == stop and [span.start for span in spans] == borders[:-1]


@given(st.integers(1, 1000), st.integers(1, 300))
def test_steps_are_equal_but_for_the_last(length, step):
    found = list(steps(length, step))
    assert covers(found, 0, length)
    assert {span.stop - span.start for span in found[:-1]} <= {step}
    assert found[-1].stop - found[-1].start <= step


@given(st.integers(0, 100), st.integers(1, 1000), st.integers(1, 50))
def test_even_spans_differ_by_one_at_most(start, length, count):
    found = even(start, start + length, count)
    assert len(found) == count and covers(found, start, start + length)
    sides = [span.stop - span.start for span in found]
    assert max(sides) - min(sides) <= 1


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 40), st.integers(1, 50_000))
def test_bands_begin_at_multiples_and_keep_to_their_pixels(height, width, unit, pixels):
    found = list(bands((height, width), unit, pixels))
    assert covers(found, 0, height)
    assert all(rows.start % unit == 0 for rows in found)
    assert all((rows.stop - rows.start) * width <= max(pixels, unit * width) for rows in found)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 40), st.integers(1, 50_000))
def test_rows_in_the_middle(height, width, unit, most):
    rows = middle((height, width), most, unit)
    assert 0 <= rows.start < rows.stop <= height and rows.start % unit == 0
    assert (rows.stop - rows.start) * width <= max(most, unit * width)
    assert abs((rows.start + rows.stop) - height) <= 3 * unit or rows.stop - rows.start == height


def test_tiles_go_row_by_row():
    assert list(tiles((3, 5), 2)) == [
        (slice(0, 2), slice(0, 2)),
        (slice(0, 2), slice(2, 4)),
        (slice(0, 2), slice(4, 5)),
        (slice(2, 3), slice(0, 2)),
        (slice(2, 3), slice(2, 4)),
        (slice(2, 3), slice(4, 5)),
    ]


def test_a_span_is_widened_within_its_length():
    assert widened(slice(3, 5), 2, 10) == (slice(1, 7), slice(2, 4))
    assert widened(slice(0, 9), 2, 10) == (slice(0, 10), slice(0, 9))
