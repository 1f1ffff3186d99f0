"""The eight orientations of an image.

An orientation is a number from 0 to 7: a transposition (4), after it a flip of the rows (2) and of the columns (1). The
errors of a network are not the same in all of them, so that the mean of its outputs is closer to the truth than one:
the geometric self-ensemble of EDSR (arXiv 1707.02921).
"""

from torch import Tensor

COUNT = 8
ORDER = (0, 7, 1, 6, 2, 5, 3, 4)  # in which they are added: the first are the most different


def orient(x: Tensor, number: int) -> Tensor:
    """x (..., H, W) in that orientation."""
    return _flipped(x.mT if number & 4 else x, number)


def restore(x: Tensor, number: int) -> Tensor:
    """The inverse of `orient`."""
    x = _flipped(x, number)
    return x.mT if number & 4 else x


def restore_cells(x: Tensor, side: int, number: int) -> Tensor:
    """`restore` for cells of `side` x `side` pixels that `pixel_unshuffle` made channels, (C side^2, ...)."""
    cells = x.unflatten(0, (-1, side, side)).movedim((1, 2), (-2, -1))
    return restore(cells, number).movedim((-2, -1), (1, 2)).flatten(0, 2)


def _flipped(x: Tensor, number: int) -> Tensor:
    dimensions = [dimension for bit, dimension in ((2, -2), (1, -1)) if number & bit]
    return x.flip(dimensions) if dimensions else x
