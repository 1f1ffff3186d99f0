"""JPEGs that were saved twice: the compression before the last one, and the operator of any compression found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from .dct import standard_tables
from .jpeg import Coefficients, Jpeg, Noise, coefficients_of, quantisation_error
from .jpeg_evidence import NOISE, Table, best_table, gaps
from .jpeg_history import BLOCKS
from .jpeg_part import JpegPart
from .jpeg_search import History, about, convinces, find_history, sample, seek, with_chroma

TAILS = 1.5  # by how much the variance counts more, for errors that are not normal
COARSER = 1.15  # by how much the steps of an earlier compression are coarser at least, to be worth anything


def find_earlier(own: Coefficients | Any, x: Tensor, quality: int | None = None) -> History | None:
    """The compression before the last one, whose coefficients `own` are and whose decoded picture x (1, 3, H, W) is.

    Where the blocks were the same it shows in the file's own integers (`gaps`), else in the pixels (`seek`), with the
    last compression for noise. None: no trace of any that was coarser.

    Args:
        own: a file's coefficients, in grey or YCbCr; of a large picture those of a band, with its pixels.
        x: the decoded picture.
        quality: of the earlier compression, if that is known: there is one then, unless it is the last one's.
    """
    table = torch.as_tensor(own.tables[0]).int()
    if quality and torch.equal(standard_tables(quality)[0].int(), table):
        return None
    blocks = _clean(own, x)
    evidence = gaps(blocks, table)
    noise = _noise(own)
    if quality is None:
        found = best_table(evidence, 0)
        aligned = History((found.steps,), quality=found.quality, noise=noise) if convinces(found, len(blocks)) else None
    else:
        steps = standard_tables(quality)[0]
        clear = float(evidence.gather(2, steps.long()[:, :, None] - 1).sum()) > 0
        found = Table(steps, quality, 0.0)
        aligned = History((steps,), quality=quality, noise=noise)
    moved = None if aligned and (quality is None or clear) else seek(x, quality, [noise], besides=(0, 0))
    if moved and quality is None and not _coarser(moved.tables[0], table):
        moved = None
    history = moved or aligned
    if history is None:
        return None
    factor = tuple(most // least for most, least in zip(own.sampling[0], own.sampling[-1], strict=True))
    history = history._replace(later=about(table))
    return with_chroma(sample(x), history, factor if history.corner == (0, 0) else None)


def find_first(x: Tensor, quality: int | None = None) -> History | None:
    """`find_history` of pixels, or the compression before that one if it was coarser."""
    history = find_history(x, quality)
    if quality or history is None or not history.plain:
        return history
    return find_earlier(_whole(history, x, None), x) or history


def operator_of(
    history: History, x: Tensor, own: Coefficients | Any = None, grey: bool | None = None
) -> Jpeg | JpegPart:
    """The operator of the compression that pixels x (1, 3, H, W) went through; its `y` is what it made of them.

    It is of the whole blocks of x, where these do not begin at its corner.

    Args:
        history: from `find_history` or `find_earlier`.
        x: the pixels.
        own: coefficients of the last compression, on the same blocks, if there was one since.
        grey: the picture has no colour; None: as the pixels say.
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
    """The coefficients of blocks that begin at the corner of x, those of luma from the file's where there is one."""
    if own is None:
        noise = _above_rounding(history.noise)
        return coefficients_of(x, history.tables, history.factor, noise, history.times)
    luma, steps = _before(torch.as_tensor(own.planes[0]), torch.as_tensor(own.tables[0]), history.tables[0])
    if len(history.tables) == 1:  # of chroma nothing is known: the later steps say what it was then, not at first
        return Coefficients(own.size, [luma], [steps], [(1, 1)])
    found = coefficients_of(x, history.tables, history.factor, history.noise, history.times)
    return found._replace(planes=[luma, *found.planes[1:]], tables=[steps, *found.tables[1:]])


def _before(k: Tensor, later: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficients that were rounded to k later steps after they had been rounded to earlier ones; and the steps.

    Where these were finer the later ones stay.
    """
    later, earlier = later.float(), earlier.float()
    steps = torch.maximum(later, earlier)
    return (k * (later / steps)).round().short(), steps


def _clean(own: Coefficients | Any, x: Tensor) -> Tensor:
    """Luma's blocks (N, 8, 8) that show no saturated pixel, which the earlier decoder would have clipped."""
    planes = torch.as_tensor(own.planes[0])
    down, across = x.shape[2] // 8, x.shape[3] // 8
    saturated = (x[0, :, : 8 * down, : 8 * across].abs().amax(0) > 1 - 1 / 255).unflatten(1, (-1, 8))
    clean = ~saturated.unflatten(0, (-1, 8)).transpose(1, 2).flatten(2).any(2)
    blocks = planes[:down, :across][clean]
    return blocks[:: len(blocks) // BLOCKS + 1]


def _noise(own: Coefficients | Any) -> tuple[Noise, Noise]:
    """What the last compression did to coefficients of luma and chroma on other blocks, (8, 8) standard deviations.

    There its errors are spread over neighbouring frequencies, and have longer tails than normal ones.
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
