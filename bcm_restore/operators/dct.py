"""The parts of JPEG: colour space, 8 x 8 cosine transform, standard tables."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ..errors import RestoreError


def _rgb_to_ycc() -> NDArray[np.float64]:
    red, blue = 0.299, 0.114
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack([luma, ([0, 0, 1] - luma) / (2 - 2 * blue), ([1, 0, 0] - luma) / (2 - 2 * red)])


def _cosines() -> NDArray[np.float64]:
    u, n = np.arange(8)[:, None], np.arange(8)[None]
    return np.cos((2 * n + 1) * u * np.pi / 16) * np.where(u == 0, np.sqrt(1 / 8), 1 / 2)


RGB_TO_YCC = _rgb_to_ycc()  # JFIF, full range: Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402, centred on zero
YCC_TO_RGB = np.linalg.inv(RGB_TO_YCC)
COSINES = _cosines()  # D, orthonormal: D D^T = I
HALF_RANGE = 127.5  # 8-bit steps from the middle of [-1, 1] to its end


def transform(planes: Tensor) -> Tensor:
    """D p D^T of every 8 x 8 block p of (B, 8m, 8n); coefficient (u, v) is stored at the block's pixel (u, v)."""
    return _both_axes(torch.from_numpy(COSINES).to(planes), planes)


def inverse_transform(coefficients: Tensor) -> Tensor:
    """D^T c D of every 8 x 8 block c of (B, 8m, 8n), the inverse of `transform`."""
    return _both_axes(torch.from_numpy(COSINES.T.copy()).to(coefficients), coefficients)


def _both_axes(matrix: Tensor, planes: Tensor) -> Tensor:
    # Blocks keep their place in the plane: 8 rows are a strip of blocks, and a row is a run of blocks' rows.
    strips = planes.reshape(-1, 8, planes.shape[-1])
    strips = torch.bmm(matrix.expand(len(strips), 8, 8), strips)
    return (strips.view(-1, 8) @ matrix.T).view(planes.shape)


# The matrix from RGB to the components of a JPEG: JFIF, no transform, and the negative (YCCK without its K).
COLOURS = {"YCbCr": RGB_TO_YCC, "RGB": np.eye(3), "YCCK": -RGB_TO_YCC}


def to_components(x: Tensor, colour: str, components: int) -> Tensor:
    """Converts RGB in [-1, 1] to JPEG components, (B, 3, H, W) -> (B, components, H, W), in 8-bit steps, centred."""
    if colour == "RGB":
        return HALF_RANGE * x - 0.5  # JPEG subtracts 128 from 0..255, the middle is 127.5
    return to_ycc(-x if colour == "YCCK" else x, components)


def from_components(planes: Tensor, colour: str) -> Tensor:
    """The linear part of the inverse, (B, 3 or 1, H, W) -> (B, 3, H, W), without the offset of 1/2."""
    if colour == "RGB":
        return planes / HALF_RANGE
    return -to_rgb(planes) if colour == "YCCK" else to_rgb(planes)


def to_ycc(x: Tensor, components: int) -> Tensor:
    """Converts RGB in [-1, 1] to YCbCr or Y, (B, 3, H, W) -> (B, components, H, W), in 8-bit steps, centred."""
    matrix = torch.from_numpy(HALF_RANGE * RGB_TO_YCC[:components]).to(x)
    ycc = (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])
    ycc[:, 0] -= 0.5  # JPEG subtracts 128 from 0..255, the middle is 127.5
    return ycc


def to_rgb(ycc: Tensor) -> Tensor:
    """The linear part of the inverse, grey from Y alone: (B, 3 or 1, H, W) -> (B, 3, H, W), without Y's 1/2 offset."""
    matrix = torch.from_numpy(YCC_TO_RGB[:, : ycc.shape[1]] / HALF_RANGE).to(ycc)
    return (matrix @ ycc.flatten(2)).unflatten(2, ycc.shape[2:])


def luma(x: Tensor) -> Tensor:
    """The luma Y in [-1, 1] of RGB, (B, 3, H, W) -> (B, 1, H, W); exact for grey pixels, bit for bit."""
    red, green, blue = x.split(1, 1)
    return green + RGB_TO_YCC[0, 0] * (red - green) + RGB_TO_YCC[0, 2] * (blue - green)


def averaged(planes: Tensor, factor: tuple[int, int]) -> Tensor:
    """Averages cells of `factor` rows and columns, (B, H, W) -> (B, ceil(H / rows), ceil(W / columns)).

    Cells beyond the edge are padded with the last row and column, as in libjpeg.
    """
    if factor == (1, 1):
        return planes
    down, across = factor
    height, width = planes.shape[1:]
    if height % down or width % across:
        planes = pad(planes[None], (0, -width % across, 0, -height % down), mode="replicate")[0]
    total = torch.zeros_like(planes[:, ::down, ::across])
    for row, column in product(range(down), range(across)):
        total += planes[:, row::down, column::across]
    return total / (down * across)


def to_blocks(planes: Tensor) -> Tensor:
    """(B, 8m, 8n) -> (B, m, n, 8, 8), a view."""
    return planes.unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).transpose(2, 3)


def from_blocks(blocks: Tensor) -> Tensor:
    """(B, m, n, 8, 8) -> (B, 8m, 8n), the inverse of `to_blocks`; a view of its result."""
    return blocks.transpose(2, 3).flatten(3, 4).flatten(1, 2)


LUMA = """
    16 11 10 16  24  40  51  61
    12 12 14 19  26  58  60  55
    14 13 16 24  40  57  69  56
    14 17 22 29  51  87  80  62
    18 22 37 56  68 109 103  77
    24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101
    72 92 95 98 112 100 103  99
"""
CHROMA = """
    17 18 24 47 99 99 99 99
    18 21 26 66 99 99 99 99
    24 26 56 99 99 99 99 99
    47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
"""


def standard_tables(quality: int) -> tuple[Tensor, Tensor]:
    """The luma and the chroma table, (8, 8) int16 [row frequency, column frequency], of libjpeg's quality 1..100.

    They are the JPEG standard's example tables times s / 100 with s = 5000 / quality below 50, else 200 - 2 quality.

        >>> standard_tables(75)[0][0].tolist()
        [8, 6, 5, 8, 12, 20, 26, 31]
    """
    if not 1 <= quality <= 100:
        raise RestoreError(f"JPEG quality {quality} is not between 1 and 100; give 1 to 100")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = np.array([LUMA.split(), CHROMA.split()], dtype=int).reshape(2, 8, 8)
    luma, chroma = torch.from_numpy(((base * percent + 50) // 100).clip(1, 255).astype(np.int16))
    return luma, chroma
