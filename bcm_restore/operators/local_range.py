"""What the surroundings of a pixel allow it to be: flat areas stay flat, whatever texture a network draws there."""

import torch.nn.functional as F
from torch import Tensor

from ..spans import steps

SLACK = 0.5  # how far beyond the range of its surroundings a pixel may go, as a share of that range
STRIP = 64  # rows of cells at a time: a large picture's bounds never lie in memory whole


def cells(x: Tensor, cell: int) -> tuple[Tensor, Tensor]:
    """Least and greatest value of each square cell of images (B, C, H, W): two of (B, C, ceil(H / cell), ...)."""
    return -F.max_pool2d(-x, cell, ceil_mode=True), F.max_pool2d(x, cell, ceil_mode=True)


def clamp_to_surroundings(x: Tensor, low: Tensor, high: Tensor, cell: int, radius: int = 1) -> Tensor:
    """Each pixel clamped to [low - SLACK (high - low), high + SLACK (high - low)] of the cells around its own.

    Where nothing varies nothing may be added; where something does, this hardly ever binds.

    Args:
        x: (B, C, H, W).
        low: (B, C, h, w), the least value of each cell of what the surroundings are taken from.
        high: (B, C, h, w), the greatest.
        cell: side of a cell in pixels of x.
        radius: how many cells further the surroundings reach.

    Returns:
        (B, C, H, W), a new tensor.
    """
    window = 2 * radius + 1
    low, high = -F.max_pool2d(-low, window, 1, radius), F.max_pool2d(high, window, 1, radius)
    room = SLACK * (high - low)
    low, high = low - room, high + room
    clamped = x.new_empty(x.shape)
    width = x.shape[3]
    for rows in steps(low.shape[2], STRIP):
        pixels = slice(rows.start * cell, rows.stop * cell)
        part = x[:, :, pixels]
        bounds = (_in_pixels(each[:, :, rows], cell) for each in (low, high))
        clamped[:, :, pixels] = part.clamp(*(each[:, :, : part.shape[2], :width] for each in bounds))
    return clamped


def _in_pixels(values: Tensor, cell: int) -> Tensor:
    """Each cell's value in all its pixels."""
    return values.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
