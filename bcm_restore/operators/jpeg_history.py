"""Pixels decoded from a JPEG, on the original block grid: estimates the quality and the chroma sampling."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from .banded import Banded
from .dct import averaged, standard_tables, to_blocks, to_ycc, transform
from .jpeg_evidence import EVIDENCE, FINEST, is_rounded, step_evidence

BLOCKS = 4096  # the largest number used
SAMPLINGS = ((1, 1), (2, 2), (1, 2), (2, 1))  # of luma (vertical, horizontal): 4:4:4, 4:2:0, 4:2:2 and 4:4:0


def quality_of_parts(parts: Iterable[Tensor]) -> int | None:
    """Estimates the JPEG quality of an image in parts (1, 3, h, w), cut at blocks, on the original block grid.

    Coefficients that were quantised with steps q are near multiples of q, up to the rounding of pixels
    (`step_evidence`); the quality with most evidence is chosen. Blocks with saturated pixels are ignored: they were
    clipped. None: no sign of JPEG.
    """
    coefficients = _some(torch.cat([clean_blocks(to_ycc(part, 1)[0], part, (1, 1)) for part in parts]))
    tables = torch.stack([standard_tables(quality)[0] for quality in range(1, 101)])
    evidence = step_evidence(coefficients, tables).sum((0, 1))
    best = int(evidence.argmax())
    found = evidence[best] > EVIDENCE and best < FINEST and is_rounded(coefficients, tables[best])
    return best + 1 if found else None


def find_sampling(x: Tensor, quality: int) -> tuple[int, int] | None:
    """Estimates the sampling factors of luma (vertical, horizontal): those with which chroma fits the quality best.

    (2, 2) is 4:2:0. None if unclear: hardly any chroma, another quality, or another chroma upsampling.
    """
    return sampling_of_parts([x], quality)


def sampling_of_parts(parts: Iterable[Tensor], quality: int) -> tuple[int, int] | None:
    """`find_sampling` of an image in parts (1, 3, h, w), cut at multiples of 16 rows."""
    blocks: list[list[Tensor]] = [[] for _ in SAMPLINGS]
    for part in parts:
        for found, factor in zip(blocks, SAMPLINGS, strict=True):
            found.append(clean_blocks(chroma(part, factor), part, factor))
    table = standard_tables(quality)[1][None]
    evidence = [float(step_evidence(_some(torch.cat(found)), table).sum()) for found in blocks]
    second, best = sorted(evidence)[-2:]
    return SAMPLINGS[evidence.index(best)] if best >= 0 and best > second + EVIDENCE else None


def chroma(x: Tensor, factor: tuple[int, int], times: int = 1) -> Tensor:
    """Cb and Cr of x (1, 3, H, W) before the decoder upsampled them by the factor, (2, ceil(H / ..), ceil(W / ..)).

    Decoders do not repeat samples but interpolate (libjpeg's fancy upsampling). Of the two pixels of sample c_i one is
    (3 c_i + c_(i-1)) / 4, the other (3 c_i + c_(i+1)) / 4, so their mean is (c_(i-1) + 6 c_i + c_(i+1)) / 8. This is
    solved for c, once for each of the `times` that chroma was averaged and upsampled.
    """
    planes = averaged(to_ycc(x, 3)[0, 1:], factor)
    for _ in range(times):
        if factor[0] == 2:
            planes = _smoothing(x.shape[2]).pinv(planes)
        if factor[1] == 2:
            planes = _smoothing(x.shape[3]).pinv(planes.mT).mT
    return planes


def clean_blocks(planes: Tensor, x: Tensor, factor: tuple[int, int], most: int = BLOCKS) -> Tensor:
    """The coefficients (N, 8, 8) of at most `most` whole blocks of the planes without saturated pixels."""
    height, width = (side // 8 * 8 for side in planes.shape[-2:])
    if not height or not width:
        return planes.new_empty(0, 8, 8)
    saturated = averaged((x.abs().amax(1) > 1 - 1 / 255).float(), factor)[:, :height, :width]
    clean = to_blocks(saturated).amax((3, 4)) == 0
    blocks = to_blocks(planes[:, :height, :width])[clean.expand(len(planes), -1, -1)]
    return transform(_some(blocks, most))


def _some(blocks: Tensor, most: int = BLOCKS) -> Tensor:
    """At most `most` of the blocks (N, 8, 8), evenly chosen."""
    return blocks[:: math.ceil(len(blocks) / most)] if len(blocks) else blocks


def _smoothing(length: int) -> Banded:
    """The matrix from samples to the means of their pixels, for `length` pixels."""
    samples = -(-length // 2)
    weights = np.zeros((samples, 3))  # of the sample before, the sample itself and the one after
    weights[1:, 0] = weights[:-1, 2] = 1 / 8
    if length % 2 and samples > 1:
        weights[-1, 0] = 1 / 4  # the last sample has one pixel
    weights[:, 1] = 1 - weights.sum(1)
    rows, sides = weights.nonzero()
    return Banded(rows, rows + sides - 1, weights[rows, sides], (samples, samples))
