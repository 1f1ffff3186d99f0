"""Pixels that were a JPEG once: at which quality, with which chroma, and with which coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..errors import RestoreError
from .banded import Banded
from .dct import averaged, standard_tables, to_blocks, to_ycc, transform

# Noise of a coefficient, in 8-bit steps: rounding samples, then pixels, gives sqrt(1/12 + 0.04..0.08); where they are
# smooth, neighbours are rounded alike, which gives more; and to some coefficients anything may have happened.
NOISE, SMOOTH_NOISE = 0.38, 2.3
SMOOTH, OUTLIERS = 0.2, 0.02  # their shares
FINEST = 96  # quality; above, the steps are as fine as rounding to pixels: any picture looks like it
EVIDENCE = 30.0  # nats: by chance one picture in e^30 would look so much like a JPEG
BLOCKS = 4096  # are enough
SAMPLINGS = ((1, 1), (2, 2), (1, 2))  # of luma (vertical, horizontal): 4:4:4, 4:2:0 and 4:2:2


def estimate_quality(x: Tensor) -> int | None:
    """The JPEG quality (libjpeg's, 1..100) that the pixels x went through, or None: no sign of JPEG.

    x is (1, 3, H, W) in [-1, 1], with the file's blocks where they were: not cropped or resized since. If the
    coefficients were quantised with steps q, they lie near multiples of q, up to the rounding of pixels (`_evidence`);
    the quality with most evidence is taken. Blocks with saturated pixels are left out: they were clipped.

        >>> estimate_quality(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1) is None
        True
    """
    if x.ndim != 4 or len(x) != 1 or x.shape[1] != 3:
        raise RestoreError(
            f"a quality is estimated for one image (1, 3, H, W), not {tuple(x.shape)}: pass one at a time"
        )
    return quality_of_parts([x])


def quality_of_parts(parts: Iterable[Tensor]) -> int | None:
    """`estimate_quality` of an image in parts (1, 3, h, w), cut where blocks end."""
    coefficients = _some(torch.cat([_clean_blocks(to_ycc(part, 1)[0], part, (1, 1)) for part in parts]))
    evidence = _evidence(coefficients, torch.stack([standard_tables(quality)[0] for quality in range(1, 101)]))
    best = int(evidence.argmax())
    return best + 1 if evidence[best] > EVIDENCE and best < FINEST else None


def find_sampling(x: Tensor, quality: int) -> tuple[int, int] | None:
    """The sampling factors of luma (vertical, horizontal) with which the chroma of x fits the quality best.

    (2, 2) is 4:2:0. None if that is unclear: no chroma to speak of, another quality, or another way to enlarge chroma.
    """
    return sampling_of_parts([x], quality)


def sampling_of_parts(parts: Iterable[Tensor], quality: int) -> tuple[int, int] | None:
    """`find_sampling` of an image in parts (1, 3, h, w), cut at multiples of 16 rows."""
    blocks: list[list[Tensor]] = [[] for _ in SAMPLINGS]
    for part in parts:
        for found, factor in zip(blocks, SAMPLINGS, strict=True):
            found.append(_clean_blocks(chroma(part, factor), part, factor))
    table = standard_tables(quality)[1][None]
    evidence = [float(_evidence(_some(torch.cat(found)), table)) for found in blocks]
    second, best = sorted(evidence)[1:]
    return SAMPLINGS[evidence.index(best)] if best >= 0 and best > second + EVIDENCE else None


def chroma(x: Tensor, factor: tuple[int, int]) -> Tensor:
    """Cb and Cr of x (1, 3, H, W) before the decoder enlarged them by the factor, (2, ceil(H / ..), ceil(W / ..)).

    Decoders do not repeat samples but interpolate (libjpeg's fancy upsampling). Of the two pixels of sample c_i one is
    (3 c_i + c_(i-1)) / 4, the other (3 c_i + c_(i+1)) / 4, so their mean is (c_(i-1) + 6 c_i + c_(i+1)) / 8. This is
    solved for c.
    """
    planes = averaged(to_ycc(x, 3)[0, 1:], factor)
    if factor[0] == 2:
        planes = _smoothing(x.shape[2]).pinv(planes)
    if factor[1] == 2:
        planes = _smoothing(x.shape[3]).pinv(planes.mT).mT
    return planes


def _clean_blocks(planes: Tensor, x: Tensor, factor: tuple[int, int]) -> Tensor:
    """The coefficients (N, 8, 8) of some whole blocks of the planes whose pixels are not saturated."""
    height, width = (side // 8 * 8 for side in planes.shape[-2:])
    if not height or not width:
        return planes.new_empty(0, 8, 8)
    saturated = averaged((x.abs().amax(1) > 1 - 1 / 255).float(), factor)[:, :height, :width]
    clean = to_blocks(saturated).amax((3, 4)) == 0
    blocks = to_blocks(planes[:, :height, :width])[clean.expand(len(planes), -1, -1)]
    return transform(_some(blocks))


def _some(blocks: Tensor) -> Tensor:
    """At most `BLOCKS` of (N, 8, 8), evenly chosen."""
    return blocks[:: math.ceil(len(blocks) / BLOCKS)] if len(blocks) else blocks


def _evidence(coefficients: Tensor, tables: Tensor) -> Tensor:
    """For each table how much likelier the coefficients are with it than without any quantisation, in nats.

    Args:
        coefficients: (N, 8, 8).
        tables: (M, 8, 8).

    Quantised by q they are multiples of q plus noise; else, at the scale of q, anything is as likely. The log of the
    ratio is summed over coefficients. Zeros are common in any picture: what is nearest to zero counts only if it speaks
    against q. Repeated values, of which drawings have many, count once.
    """
    total = torch.zeros(len(tables), dtype=torch.float64)
    for row in range(8):
        for column in range(8):
            c = coefficients[:, row, column].unique()
            c = c[c.abs() > 4 * NOISE, None]
            steps, table = tables[:, row, column].to(c).unique(return_inverse=True)
            multiple = (c / steps).round()
            off = c - steps * multiple
            fine, coarse = _density(off, steps, NOISE), _density(off, steps, SMOOTH_NOISE)
            ratio = steps * ((1 - SMOOTH - OUTLIERS) * fine + SMOOTH * coarse) + OUTLIERS
            ratio = torch.where(multiple == 0, ratio.clamp(max=1), ratio)
            total += ratio.log().sum(0).double().cpu()[table.cpu()]
    return total


def _density(off: Tensor, steps: Tensor, noise: float) -> Tensor:
    """Normal, wrapped: of being that far off the nearest multiple of the step, whichever multiple it came from."""
    distances = torch.stack([off - steps, off, off + steps]) / noise
    return torch.exp(-(distances**2) / 2).sum(0) / (noise * math.sqrt(2 * math.pi))


def _smoothing(length: int) -> Banded:
    """The matrix from samples to the means of their pixels, for so many pixels."""
    samples = -(-length // 2)
    weights = np.zeros((samples, 3))  # of the sample before, the sample itself and the one after
    weights[1:, 0] = weights[:-1, 2] = 1 / 8
    if length % 2 and samples > 1:
        weights[-1, 0] = 1 / 4  # the last sample has one pixel
    weights[:, 1] = 1 - weights.sum(1)
    rows, sides = weights.nonzero()
    return Banded(rows, rows + sides - 1, weights[rows, sides], (samples, samples))
