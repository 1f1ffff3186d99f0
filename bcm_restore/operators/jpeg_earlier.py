"""JPEGs that were saved twice: finds the earlier compression, and builds the operator of a found compression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from .dct import standard_tables
from .jpeg import Coefficients, Jpeg, Noise, coefficients_of, quantisation_error
from .jpeg_evidence import NOISE, Table, best_table, gap_evidence
from .jpeg_history import BLOCKS
from .jpeg_part import JpegPart
from .jpeg_search import History, centre, find_history, is_significant, nearest_quality, search_grids, with_chroma

TAILS = 1.5  # factor of the variance, because the errors are not normal
COARSER = 1.15  # the least ratio of an earlier compression's steps to the later ones for it to be useful


def find_earlier(own: Coefficients | Any, x: Tensor, quality: int | None = None) -> History | None:
    """Finds the compression before the last one in the file's coefficients `own` and its decoded pixels x.

    If both used the same block grid, it shows in the file's integers (`gap_evidence`); else in the pixels
    (`search_grids`), with the last compression as noise. None: no sign of an earlier, coarser compression.

    Args:
        own: the file's coefficients, in grey or YCbCr; for a large picture those of a band, with its pixels.
        x: the decoded picture, (1, 3, H, W).
        quality: of the earlier compression, if known: it is then assumed to exist, unless it equals the last one's.
    """
    table = torch.as_tensor(own.tables[0]).int()
    if quality and torch.equal(standard_tables(quality)[0].int(), table):
        return None
    blocks = _clean(own, x)
    evidence = gap_evidence(blocks, table)
    noise = _noise(own)
    if quality is None:
        found = best_table(evidence, 0)
        aligned = (
            History((found.steps,), quality=found.quality, noise=noise) if is_significant(found, len(blocks)) else None
        )
    else:
        steps = standard_tables(quality)[0]
        clear = float(evidence.gather(2, steps.long()[:, :, None] - 1).sum()) > 0
        found = Table(steps, quality, 0.0)
        aligned = History((steps,), quality=quality, noise=noise)
    moved = None if aligned and (quality is None or clear) else search_grids(x, quality, [[noise]], excluding=(0, 0))
    if moved and quality is None and not _coarser(moved.tables[0], table):
        moved = None
    history = moved or aligned
    if history is None:
        return None
    factor = tuple(most // least for most, least in zip(own.sampling[0], own.sampling[-1], strict=True))
    history = history._replace(later=nearest_quality(table))
    return with_chroma(centre(x), history, factor if history.corner == (0, 0) else None)


def find_first(x: Tensor, quality: int | None = None) -> History | None:
    """`find_history` of pixels, or the compression before that if it was coarser."""
    history = find_history(x, quality)
    if quality or history is None or not history.plain:
        return history
    return find_earlier(_whole(history, x, None), x) or history


def operator_of(
    history: History, x: Tensor, own: Coefficients | Any = None, grey: bool | None = None
) -> Jpeg | JpegPart:
    """The operator of the compression that pixels x (1, 3, H, W) went through, with its coefficients as `y`.

    If the blocks do not begin at the corner of x, it covers only the whole blocks.

    Args:
        history: from `find_history` or `find_earlier`.
        x: the pixels.
        own: coefficients of a later compression on the same blocks, if any.
        grey: the picture has no colour; None: decided from the pixels.
    """
    grey = bool((x == x[:, :1]).all()) if grey is None else grey
    top, left = history.corner
    height, width = x.shape[2:]
    if (top, left) == (0, 0):
        return Jpeg(_whole(history, x, own), grey)
    unit = 8 * history.factor[0], 8 * history.factor[1]
    rows = slice(top, top + (height - top) // unit[0] * unit[0])
    columns = slice(left, left + (width - left) // unit[1] * unit[1])
    part = x[:, :, rows, columns]
    found = coefficients_of(part, history.tables, history.factor, _above_rounding(history.noise))
    return JpegPart(Jpeg(found, grey), (height, width), rows, columns)


def _whole(history: History, x: Tensor, own: Coefficients | Any) -> Coefficients:
    """The coefficients of blocks that begin at the corner of x; luma's are derived from the file's if given."""
    if own is None:
        noise = _above_rounding(history.noise)
        return coefficients_of(x, history.tables, history.factor, noise, history.times)
    luma, steps = _before(torch.as_tensor(own.planes[0]), torch.as_tensor(own.tables[0]), history.tables[0])
    if len(history.tables) == 1:  # chroma is unknown: the later steps give its later values, not the original ones
        return Coefficients(own.size, [luma], [steps], [(1, 1)])
    found = coefficients_of(x, history.tables, history.factor, history.noise, history.times)
    return found._replace(planes=[luma, *found.planes[1:]], tables=[steps, *found.tables[1:]])


def _before(k: Tensor, later: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficients before they were rounded to k later steps, in earlier steps; and the steps.

    Where the earlier steps were finer, the later ones are kept.
    """
    later, earlier = later.float(), earlier.float()
    steps = torch.maximum(later, earlier)
    return (k * (later / steps)).round().short(), steps


def _clean(own: Coefficients | Any, x: Tensor) -> Tensor:
    """The luma blocks (N, 8, 8) without saturated pixels, which the earlier decoder may have clipped."""
    planes = torch.as_tensor(own.planes[0])
    down, across = x.shape[2] // 8, x.shape[3] // 8
    saturated = (x[0, :, : 8 * down, : 8 * across].abs().amax(0) > 1 - 1 / 255).unflatten(1, (-1, 8))
    clean = ~saturated.unflatten(0, (-1, 8)).transpose(1, 2).flatten(2).any(2)
    blocks = planes[:down, :across][clean]
    return blocks[:: len(blocks) // BLOCKS + 1]


def _noise(own: Coefficients | Any) -> tuple[Noise, Noise]:
    """The noise of the last compression in luma and chroma coefficients on another grid, (8, 8) standard deviations.

    There its errors spread over neighbouring frequencies, and have longer tails than a normal distribution.
    """
    errors = [
        quantisation_error(torch.as_tensor(k), torch.as_tensor(q)) for k, q in zip(own.planes, own.tables, strict=True)
    ]
    both = torch.stack([errors[0], torch.stack(errors[1:] or errors).mean(0)])
    spread = avg_pool2d(pad(both[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    luma, chroma = (TAILS * spread + NOISE**2).sqrt().float()
    return luma, chroma


def _above_rounding(noise: tuple[Noise, Noise]) -> tuple[Noise, Noise] | None:
    return None if all(isinstance(one, float) and one <= NOISE for one in noise) else noise


def _coarser(table: Tensor, than: Tensor) -> bool:
    return float(table.float().log().mean() - than.float().log().mean()) > float(torch.tensor(COARSER).log())
