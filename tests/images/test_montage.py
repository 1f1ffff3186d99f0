"""Several pictures in one, and two pictures of one kind."""

import numpy as np

from bcm_restore.images import Picture
from bcm_restore.images.montage import grid, row, side_by_side
from bcm_restore.images.pairs import alike, mixed_alpha


def flat(value: int, size=(4, 6), alpha: int | None = None, dtype=np.uint8, colour: bool = True) -> Picture:
    pixels = np.full((*size, 3) if colour else size, value, dtype)
    return Picture(pixels, None if alpha is None else np.full(size, alpha, dtype))


def test_before_is_enlarged_beside_after():
    both = side_by_side(flat(10, (2, 3)), flat(200, (4, 6)))
    assert both.pixels.shape == (4, 12, 3) and both.alpha is None
    assert (both.pixels[:, :6] == 10).all() and (both.pixels[:, 6:] == 200).all()


def test_transparency_of_one_makes_the_other_opaque():
    both = side_by_side(flat(10, alpha=0), flat(200))
    assert (both.alpha[:, :6] == 0).all() and (both.alpha[:, 6:] == 255).all()
    grey = side_by_side(flat(10, colour=False), flat(200, colour=False))
    assert grey.pixels.shape == (4, 12)


def test_rows():
    joined = row([flat(1, alpha=9), flat(2, alpha=8), flat(3, alpha=7)])
    assert joined.pixels.shape == (4, 18, 3)
    assert joined.alpha[0].tolist() == [9] * 6 + [8] * 6 + [7] * 6
    assert row([flat(1), flat(2)]).alpha is None


def test_grids_are_black_where_the_last_row_ends_early():
    joined = grid([np.full((2, 3, 3), n + 1, np.uint8) for n in range(5)])
    assert joined.shape == (4, 9, 3)
    assert joined[::2, ::3, 0].tolist() == [[1, 2, 3], [4, 5, 0]]


def test_two_pictures_become_one_kind():
    first, last = alike(flat(10, colour=False), flat(257 * 20, (8, 12), dtype=np.uint16))
    assert first.pixels.shape == last.pixels.shape == (4, 6, 3)
    assert first.pixels.dtype == last.pixels.dtype == np.uint16
    assert (first.pixels == 257 * 10).all() and (last.pixels == 257 * 20).all()


def test_transparency_between_two_pictures():
    assert mixed_alpha(flat(1), flat(2), 0.5) is None
    assert (mixed_alpha(flat(1, alpha=0), flat(2), 0.2) == 51).all()
