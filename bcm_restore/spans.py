"""Splits images into bands of rows and tiles; a span is a slice along a side."""

import itertools
from collections.abc import Iterator

LARGE = 8_000_000
"""Results with more pixels are computed in files; a constant, as results may differ by rounding errors."""

BAND_PIXELS = 1 << 21


def steps(length: int, step: int) -> Iterator[slice]:
    """Splits 0 to `length` into spans of `step`; the last may be shorter."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def even(start: int, stop: int, count: int) -> list[slice]:
    """Splits `start` to `stop` into `count` spans of nearly equal length."""
    borders = [start + (stop - start) * n // count for n in range(count + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(borders)]


def bands(size: tuple[int, int], unit: int = 1, pixels: int | None = None) -> Iterator[slice]:
    """Splits the rows of an image of `size` = (H, W) into bands of about `pixels` pixels, cut at multiples of `unit`.

    The default of `pixels` is `BAND_PIXELS`.
    """
    height, width = size
    return steps(height, max((pixels or BAND_PIXELS) // width // unit, 1) * unit)


def middle(size: tuple[int, int], most: int, unit: int = 1) -> slice:
    """Rows in the middle of an image of `size` = (H, W), with about `most` pixels, cut at multiples of `unit`."""
    height, width = size
    rows = max(most // max(width, 1) // unit, 1) * unit
    start = max(height - rows, 0) // 2 // unit * unit
    return slice(start, min(start + rows, height))


def tiles(size: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    """The rows and columns of tiles with sides of at most `side` pixels, row by row."""
    return ((rows, columns) for rows in steps(size[0], side) for columns in steps(size[1], side))


def widened(span: slice, reach: int, length: int) -> tuple[slice, slice]:
    """Widens a span by up to `reach` at both ends, within 0 to `length`; also returns the span relative to that."""
    start, stop = max(span.start - reach, 0), min(span.stop + reach, length)
    return slice(start, stop), slice(span.start - start, span.stop - start)
