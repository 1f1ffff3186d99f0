"""Folding: every second pixel moves to one half of the image, so that neighbours are two pixels apart.

Demosaicing correlates the noise of neighbouring pixels, which networks that are trained for white noise take for
structure. Between every second pixel it is nearly white (pixel-shuffle downsampling: Zhou et al. 2020, "When AWGN-based
denoiser meets real noises"). The second half is mirrored, so that the image has no seam where the halves meet.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..large import BandImage


def order(count: int) -> np.ndarray:
    """The places 0, 2, 4, ... and then the odd ones from the last to 1.

    >>> order(5)
    array([0, 2, 4, 3, 1])
    """
    return np.concatenate([np.arange(0, count, 2), np.arange(1, count, 2)[::-1]])


class FoldedImage(BandImage):
    """A folded view of an image: row r is row `order(H)[r]` of the image, and so are the columns."""

    def __init__(self, image: BandImage) -> None:
        self.image, self.size, self.device, self.in_memory = image, image.size, image.device, image.in_memory

    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """A copy of the region."""
        (top, own_rows), (left, own_columns) = (
            _span(order(length)[part]) for length, part in zip(self.size, (rows, columns), strict=True)
        )
        region = self.image.read(top, left)
        return region[:, :, own_rows.to(region.device)][:, :, :, own_columns.to(region.device)]


def _span(places: np.ndarray) -> tuple[slice, Tensor]:
    """The span of some places, and the places within it."""
    start = int(places.min())
    return slice(start, int(places.max()) + 1), torch.from_numpy(places - start)


def unfolded(x: Tensor) -> Tensor:
    """The image (..., H, W) of a folded one.

    >>> unfolded(torch.tensor([[0, 2, 1], [6, 8, 7], [3, 5, 4]])).flatten().tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    rows, columns = (torch.from_numpy(np.argsort(order(length))).to(x.device) for length in x.shape[-2:])
    return x[..., rows, :][..., columns]


def unfolded_array(array: np.ndarray) -> np.ndarray:
    """The picture (H, W[, C]) of a folded one, with one copy: pictures may be large."""
    out: Any = np.empty_like(array)
    height, width = ((length + 1) // 2 for length in array.shape[:2])
    for rows, from_rows in ((slice(0, None, 2), array[:height]), (slice(1, None, 2), array[height:][::-1])):
        out[rows, 0::2], out[rows, 1::2] = from_rows[:, :width], from_rows[:, width:][:, ::-1]
    return out
