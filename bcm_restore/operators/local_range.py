"""Clamps pixels to the range of their surroundings: flat areas stay flat even where a network adds texture."""

import torch.nn.functional as F
from torch import Tensor

from ..spans import steps

SLACK = 0.5
STRIP = 64  # rows of cells at a time: limits the memory for the bounds of a large picture


def cells(x: Tensor, cell: int) -> tuple[Tensor, Tensor]:
    """The least and greatest values of each square cell of images (B, C, H, W): two of (B, C, ceil(H / cell), ...)."""
    return -F.max_pool2d(-x, cell, ceil_mode=True), F.max_pool2d(x, cell, ceil_mode=True)


def clamp_to_surroundings(
    x: Tensor, low: Tensor, high: Tensor, cell: int, radius: int = 1, slack: float = SLACK
) -> Tensor:
    """Clamps each pixel to [low - slack (high - low), high + slack (high - low)] of the cells around it.

    In flat areas no texture can be added; elsewhere the bounds are rarely reached.

    Args:
        x: (B, C, H, W).
        low: (B, C, h, w), the least value of each cell of the reference image.
        high: (B, C, h, w), the greatest.
        cell: side of a cell in pixels of x.
        radius: radius of the surroundings, in cells.
        slack: how far a pixel may exceed the range of its surroundings, as a share of that range.

    Returns:
        (B, C, H, W), a new tensor.
    """
    low, high = -_greatest(-low, radius), _greatest(high, radius)
    margin = slack * (high - low)
    low, high = low - margin, high + margin
    clamped = x.new_empty(x.shape)
    width = x.shape[3]
    for rows in steps(low.shape[2], STRIP):
        pixels = slice(rows.start * cell, rows.stop * cell)
        part = x[:, :, pixels]
        bounds = (_in_pixels(each[:, :, rows], cell) for each in (low, high))
        clamped[:, :, pixels] = part.clamp(*(each[:, :, : part.shape[2], :width] for each in bounds))
    return clamped


def _greatest(x: Tensor, radius: int) -> Tensor:
    """The greatest value within a square around each one, along one side and then the other: windows may be large."""
    window = 2 * radius + 1
    return F.max_pool2d(F.max_pool2d(x, (window, 1), 1, (radius, 0)), (1, window), 1, (0, radius))


def _in_pixels(values: Tensor, cell: int) -> Tensor:
    """Repeats each cell's value in all its pixels."""
    return values.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
