"""Cutting pictures into rows and tiles: spans (slices) along a side."""

import itertools
from collections.abc import Iterator

LARGE = 8_000_000
"""Pixels of a result above which it is worked on in files; the same everywhere, as results may differ by a rounding."""

BAND_PIXELS = 1 << 21


def steps(length: int, step: int) -> Iterator[slice]:
    """0 to `length` in spans of `step`, of which the last may be shorter."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def even(start: int, stop: int, count: int) -> list[slice]:
    """`start` to `stop` in so many spans, as equal as can be."""
    borders = [start + (stop - start) * n // count for n in range(count + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(borders)]


def bands(size: tuple[int, int], unit: int = 1, pixels: int | None = None) -> Iterator[slice]:
    """The rows of an image of `size` = (H, W) in bands of about so many pixels, cut at multiples of `unit`.

    Where `pixels` is None, they are `BAND_PIXELS`.
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
    """The rows and columns of tiles of at most `side` pixels a side, one row of tiles after the other."""
    return ((rows, columns) for rows in steps(size[0], side) for columns in steps(size[1], side))


def widened(span: slice, reach: int, length: int) -> tuple[slice, slice]:
    """A span with up to `reach` more at both ends, inside 0 to `length`; and where the span lies in that."""
    start, stop = max(span.start - reach, 0), min(span.stop + reach, length)
    return slice(start, stop), slice(span.start - start, span.stop - start)
