"""Finds the JPEG compression of pixels that were then cropped, rotated, painted on or compressed again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import RestoreError
from .dct import standard_tables, to_blocks, to_ycc, transform
from .jpeg import Noise
from .jpeg_evidence import (
    CUSTOM_EVIDENCE,
    EVIDENCE,
    FINEST,
    NOISE,
    Table,
    all_steps,
    best_table,
    is_rounded,
    step_evidence,
)
from .jpeg_history import SAMPLINGS, chroma, clean_blocks, quality_of_parts

NOISES = (NOISE, 1.2, 3.0)  # of pixels that were rounded, saved again at high quality, reduced to a palette
COARSE = 5.0  # of pixels reduced to a coarser palette; searched where nothing else is found
MOST = 400  # blocks in which tables are searched
SIDE = 2048  # rows and columns of a large picture that are used
NEAR_ZERO = (0.8, 3.0, 8.0, 20.0)  # thresholds for a coefficient of zero, from no noise to much noise
GRID = 8.0  # the least excess of zeros on the true grid, in standard deviations


def estimate_quality(x: Tensor) -> int | None:
    """Estimates the JPEG quality (libjpeg's, 1..100) that the pixels x went through; None: no sign of JPEG.

    x is (1, 3, H, W) in [-1, 1], not resized since; the block grid is found even after cropping or rotation.

        >>> estimate_quality(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1) is None
        True
    """
    if x.ndim != 4 or len(x) != 1 or x.shape[1] != 3:
        raise RestoreError(
            f"a quality is estimated for one image (1, 3, H, W), not {tuple(x.shape)}: pass one at a time"
        )
    history = find_history(x)
    return history.quality if history else None


class History(NamedTuple):
    """A JPEG compression that pixels went through.

    Attributes:
        tables: quantisation steps (8, 8) of luma and, if clear, of chroma, in the present orientation.
        factor: image rows and columns per chroma sample.
        corner: row and column where whole blocks begin; below 8 times the factor.
        quality: libjpeg's; None: custom tables.
        noise: added to the coefficients of luma and chroma since.
        times: how often chroma has been upsampled since.
        later: quality of a later compression.
    """

    tables: tuple[Tensor, ...]
    factor: tuple[int, int] = (1, 1)
    corner: tuple[int, int] = (0, 0)
    quality: int | None = None
    noise: tuple[Noise, Noise] = (NOISE, NOISE)
    times: int = 1
    later: int | None = None

    @property
    def plain(self) -> bool:
        """Whether the tables are libjpeg's and the pixels have only been rounded since."""
        rounded = all(isinstance(noise, float) and noise <= NOISE for noise in self.noise)
        return rounded and self.corner == (0, 0) and self.quality is not None and self.later is None

    def __str__(self) -> str:
        own = "" if self.quality else "custom tables, about "
        top, left = (side % 8 for side in self.corner)
        place = f" (blocks from row {top} and column {left})" if top or left else ""
        since = f" before it was {self.later}" if self.later else ""
        return f"was {own}quality {self.quality or nearest_quality(self.tables[0])}{place}{since}"


def nearest_quality(table: Tensor) -> int:
    """The quality whose luma table is most similar to this one."""
    tables = torch.stack([standard_tables(quality)[0] for quality in range(1, 101)])
    return int((tables.float().log() - table.float().log()).abs().mean((1, 2)).argmin()) + 1


def find_history(x: Tensor, quality: int | None = None) -> History | None:
    """Finds the compression with most evidence in x (1, 3, H, W), on any block grid; None: no sign of JPEG.

    Args:
        x: (1, 3, H, W) in [-1, 1].
        quality: of the tables, if known: then a history is always returned, with blocks from the corner if unclear.
    """
    plain = quality or quality_of_parts([x])
    aligned = History((standard_tables(plain)[0],), quality=plain) if plain else None
    found = None
    if quality or not aligned:
        found = search_grids(x, quality)
    history = found or aligned
    return with_chroma(centre(x), history) if history else None


def search_grids(
    x: Tensor,
    quality: int | None = None,
    noises: Sequence[Sequence[tuple[Noise, Noise]]] = (tuple(zip(NOISES, NOISES, strict=True)), ((COARSE, COARSE),)),
    excluding: tuple[int, int] | None = None,
) -> History | None:
    """Finds the compression of luma with most evidence, on any block grid; chroma is ignored.

    Grids are compared by their number of coefficients near zero (`_corners`); on the likely ones, tables are compared
    by how close coefficients are to multiples of their steps (`step_evidence`). Pixels that were restored since have
    no history.

    Args:
        x: (1, 3, H, W) in [-1, 1].
        quality: of the table, if known.
        noises: noise levels to try for the coefficients of luma and chroma; the second ones, if the first find nothing.
        excluding: a corner where the blocks do not begin.
    """
    x = centre(x)
    y = to_ycc(x, 1)[0]
    corners = [
        (top, left, clean_blocks(y[:, top:, left:], x[:, :, top:, left:], (1, 1), MOST))
        for top, left in _corners(y, excluding)
    ]
    for levels in noises:
        found, best = None, 0.0
        for (top, left, blocks), noise in product(corners, levels):
            table = _table(blocks, noise[0], quality)
            worth = table.evidence if table.quality else table.evidence / 2  # as in `best_table`
            if worth <= best or not is_significant(table, len(blocks)):
                continue
            known = quality or isinstance(noise[0], Tensor)  # from a later compression
            if not known and not is_rounded(blocks, table.steps, noise[0]):
                return None
            found, best = History((table.steps,), (1, 1), (top, left), table.quality, noise), worth
        if found:
            return found
    return None


def with_chroma(x: Tensor, luma: History, own: tuple[int, int] | None = None) -> History:
    """Adds the table and the sampling of chroma to a history, if they are clear.

    Args:
        x: the picture or its `centre`.
        luma: the history without chroma.
        own: image rows and columns per chroma sample in the later JPEG that x was decoded from, if any.
    """
    if bool((x == x[:, :1]).all()):
        return luma
    found = []
    for factor in SAMPLINGS:
        for down, across in product(range(factor[0]), range(factor[1])):
            corner = luma.corner[0] + 8 * down, luma.corner[1] + 8 * across
            part, times = x[:, :, corner[0] :, corner[1] :], 1 + (factor == own)
            if min(part.shape[2:]) < 8:
                continue
            blocks = clean_blocks(chroma(part, factor, times), part, factor, MOST)
            table = _table(blocks, luma.noise[1], luma.quality, 1)
            history = luma._replace(tables=(*luma.tables, table.steps), factor=factor, corner=corner, times=times)
            found.append((table.evidence, history))
    found.sort(key=lambda one: one[0])
    clear = len(found) > 1 and found[-1][0] > max(0, found[-2][0] + EVIDENCE)
    return found[-1][1] if clear else luma


def centre(x: Tensor) -> Tensor:
    """Crops a large picture to its centre, cut at block borders."""
    for axis in (2, 3):
        start = max(x.shape[axis] - SIDE, 0) // 64 * 32
        x = x.narrow(axis, start, min(x.shape[axis] - start, SIDE))
    return x


def _table(blocks: Tensor, noise: Noise, quality: int | None, component: int = 0) -> Table:
    """The table with most evidence in coefficients (N, 8, 8), of the given quality if known."""
    if quality is None:
        return best_table(step_evidence(blocks, all_steps(), noise), component)
    steps = standard_tables(quality)[component]
    tables = torch.stack([steps, steps.mT])
    evidence = step_evidence(blocks, tables, noise).sum((0, 1))
    best = int(evidence.argmax())
    return Table(tables[best], quality, float(evidence[best]))


def is_significant(table: Table, blocks: int) -> bool:
    """Whether the evidence for a table, from this number of blocks, is more than chance."""
    if table.quality is None:
        return table.evidence > EVIDENCE + CUSTOM_EVIDENCE * blocks
    return table.evidence > EVIDENCE and table.quality < FINEST


def _corners(y: Tensor, excluding: tuple[int, int] | None) -> Iterable[tuple[int, int]]:
    """The likely corners of the block grid of luma y (1, H, W): rows and columns from 0 to 7.

    Quantisation makes zeros, and a shifted grid hides them. For each frequency the share of coefficients near zero is
    compared between the 64 grids, in standard deviations of this share.
    """
    grids = [grid for grid in product(range(8), range(8)) if grid != excluding]
    if min(y.shape[1:]) < 16:
        return []
    shares = torch.stack([_near_zero(y[:, top:, left:]) for top, left in grids])  # (grids, thresholds, 63)
    blocks = y.shape[1] * y.shape[2] / 64
    mean = shares.mean(0)
    scores = ((shares - mean) / ((mean * (1 - mean) / blocks).sqrt() + 1e-3)).sum(2) / 8
    best, which = scores.max(0)
    return dict.fromkeys(grids[n] for n, score in zip(which.tolist(), best.tolist(), strict=True) if score > GRID)


def _near_zero(y: Tensor) -> Tensor:
    height, width = (side // 8 * 8 for side in y.shape[1:])
    blocks = to_blocks(y[:, :height, :width]).flatten(0, 2)
    coefficients = transform(blocks[:: len(blocks) // 4096 + 1]).flatten(1)[:, 1:].abs()
    return torch.stack([(coefficients < limit).float().mean(0) for limit in NEAR_ZERO])
