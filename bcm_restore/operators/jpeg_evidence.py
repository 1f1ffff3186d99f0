"""Evidence (log-likelihood ratios) that coefficients were once quantised, for every frequency and step."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .dct import standard_tables

# Noise of a coefficient, in 8-bit steps: rounding samples, then pixels, gives sqrt(1/12 + 0.04..0.08); in smooth areas
# neighbours are rounded alike, which gives more; and some coefficients are outliers of any value.
NOISE, SMOOTH_NOISE = 0.38, 2.3
SMOOTH, OUTLIERS = 0.2, 0.02  # their shares
FINEST = 96  # quality; above it the steps are as fine as rounding to pixels, and any picture would match
EVIDENCE = 30.0  # nats: by chance, one picture in e^30 would match a JPEG this well
STEPS = 255  # the coarsest step
NEAR = 0.1  # median distance from multiples, in steps: below 0.08 for JPEGs, even if saved twice, above it if restored
CLOSE = 0.9  # the same in standard deviations of the noise; that of normal noise is 0.67
RESTORED = 0.15  # the least standard deviation of restored coefficients from multiples, in steps
FEW = 20  # coefficients that are too few to tell
CUSTOM_EVIDENCE = 0.5  # a custom table needs this many nats per block, and
FREQUENCIES = 8  # evidence in this many frequencies, because its steps are free


class Table(NamedTuple):
    """A quantisation table found in coefficients."""

    steps: Tensor  # (8, 8) [row frequency, column frequency], in the present orientation
    quality: int | None  # libjpeg's; None: a custom table
    evidence: float  # nats


def step_evidence(coefficients: Tensor, tables: Tensor, noise: float | Tensor = NOISE) -> Tensor:
    """Evidence that coefficients (N, 8, 8) were quantised before noise was added: (8, 8, M) in nats.

    Quantised by q they are multiples of q plus noise; otherwise they are uniform at the scale of q. The log-likelihood
    ratio is summed over coefficients. Zeros are common in any picture: values nearest to zero count only as evidence
    against q. Repeated values, of which drawings have many, count once.

    Args:
        coefficients: of blocks.
        tables: (M, 8, 8).
        noise: standard deviation, one for all frequencies or (8, 8).
    """
    noises = torch.as_tensor(noise).expand(8, 8).tolist()
    total = torch.zeros(8, 8, len(tables), dtype=torch.float64)
    for row in range(8):
        for column in range(8):
            sigma = noises[row][column]
            c = coefficients[:, row, column].unique()
            c = c[c.abs() > 4 * sigma, None]
            steps, table = tables[:, row, column].to(c).unique(return_inverse=True)
            multiple = (c / steps).round()
            off = c - steps * multiple
            fine, coarse = _density(off, steps, sigma), _density(off, steps, max(SMOOTH_NOISE, sigma))
            ratio = steps * ((1 - SMOOTH - OUTLIERS) * fine + SMOOTH * coarse) + OUTLIERS
            ratio = torch.where(multiple == 0, ratio.clamp(max=1), ratio)
            total[row, column] = ratio.log().sum(0).double().cpu()[table.cpu()]
    return total


def gap_evidence(k: Tensor, table: Tensor) -> Tensor:
    """Evidence, from a later quantisation's integers, for an earlier one on the same blocks: (8, 8, `STEPS`) in nats.

    Multiples of q1, rounded to multiples of a finer q2, leave gaps: some integers hardly occur while their neighbours
    do. An integer k collects from the noisy multiples j q1 the share

        w(k) = q1 / q2 sum_j P[(k - 1/2) q2 < j q1 + noise < (k + 1/2) q2]

    of its count without q1. Where w < 1, that count is at least n0: the count of the next multiple of q1 further out,
    divided by the number of integers it stands for, because large coefficients are rarer than small ones. For an
    observed count n, the evidence of Poisson counts is n log w - n0 (w - 1). Equal blocks, of which drawings have many,
    count once.

    Args:
        k: (N, 8, 8) integers.
        table: (8, 8), q2.
    """
    k = torch.from_numpy(np.unique(k.reshape(-1, 64).cpu().numpy(), axis=0)).abs()
    first = torch.arange(1, STEPS + 1, dtype=torch.float64)[:, None]  # q1, down
    total = torch.zeros(64, STEPS, dtype=torch.float64)
    for frequency, second in enumerate(table.flatten().double().tolist()):
        counts = torch.bincount(k[:, frequency].long()).double()
        if len(counts) < 2:
            continue
        seen = torch.arange(1, len(counts), dtype=torch.float64)[None]
        w = _collected(seen, first, second)
        outward = ((seen * second / first).ceil() * first / second).round().long()
        n0 = torch.where(outward < len(counts), counts[outward.clamp(max=len(counts) - 1)] * second / first, 0)
        evidence = counts[1:] * w.log() - n0 * (w - 1)
        total[frequency] = torch.where((w < 1) & (first > second), evidence, 0).sum(1)
    return total.view(8, 8, STEPS)


def is_rounded(coefficients: Tensor, steps: Tensor, noise: float | Tensor = NOISE) -> bool:
    """Whether coefficients (N, 8, 8) are as close to multiples of the steps (8, 8) as the noise puts them.

    Those of a restored JPEG are near the multiples too, as they are expectations within intervals, but their distance
    grows with the step. It is looked at where it would be largest: in the quarter with the coarsest steps. There they
    are rounded if their distances are small, or if more are within the noise than of normal ones in proportion to the
    step: in a picture that something was painted on, only some blocks are.

    Args:
        coefficients: of blocks; multiples of zero are ignored, as zeros are common in any picture.
        steps: quantisation steps.
        noise: standard deviation.
    """
    sigma, steps = (torch.as_tensor(each).to(coefficients).expand_as(coefficients) for each in (noise, steps))
    multiple = (coefficients / steps).round()
    off, other = (coefficients - multiple * steps).abs(), multiple != 0
    other[:, 0, 0] = False
    if int(other.sum()) < FEW:
        return True
    off, steps, sigma = off[other], steps[other], sigma[other]
    coarse = steps >= steps.sort().values[len(steps) * 3 // 4]
    off, steps, sigma = off[coarse], steps[coarse], sigma[coarse]
    within = (off < 2 * sigma).float().mean()
    restored = torch.erf(2 * sigma / (RESTORED * steps) * 0.5**0.5).mean()
    return bool((off / steps).median() < NEAR or (off / sigma).median() < CLOSE or within > 1.3 * restored)


def best_table(evidence: Tensor, component: int) -> Table:
    """The table with most evidence (8, 8, 255), from `gap_evidence` or from `step_evidence` for `all_steps`.

    It is one of libjpeg's, of luma (component 0) or chroma (1), upright or transposed (for pictures rotated by 90
    degrees), or a custom table of the best step per frequency, if there is evidence for it.
    """
    upright = torch.stack([standard_tables(quality)[component] for quality in range(1, 101)])
    tables = torch.cat([upright, upright.mT])
    sums = evidence.gather(2, tables.permute(1, 2, 0).long() - 1).sum((0, 1))
    best = int(sums.argmax())
    found = Table(tables[best], best % 100 + 1, float(sums[best]))
    own = _custom(evidence, component)
    return own if own is not None and own.evidence > 2 * max(found.evidence, EVIDENCE) else found


def all_steps() -> Tensor:
    """All steps of each frequency, (255, 8, 8)."""
    return torch.arange(1, STEPS + 1)[:, None, None].expand(-1, 8, 8)


def _custom(evidence: Tensor, component: int) -> Table | None:
    """The best step of each frequency; where none is clear, the standard table's, scaled to the others."""
    evidence, best = (evidence - math.log(STEPS)).max(2)  # the number of steps tried
    clear = evidence > 0
    if int(clear.sum()) < FREQUENCIES:
        return None
    standard = standard_tables(50)[component].double()
    ratio = ((best + 1) / standard)[clear].median()
    if ratio < (100 - FINEST) / 50:
        return None
    steps = torch.where(clear, best + 1, (standard * ratio).round().clamp(1, STEPS)).short()
    return Table(steps, None, float(evidence[clear].sum()))


def _collected(k: Tensor, first: Tensor, second: float) -> Tensor:
    """w(k) of `gap_evidence`, one row per q1: from the multiple nearest to k and its neighbours."""
    total = torch.zeros(first.shape[0], k.shape[1], dtype=torch.float64)
    nearest = (k * second / first).round()
    for share, noise in ((1 - SMOOTH - OUTLIERS, NOISE), (SMOOTH, SMOOTH_NOISE)):
        for beside in (-1, 0, 1):
            off = k * second - (nearest + beside) * first
            ends = [torch.special.ndtr((off + half) / noise) for half in (second / 2, -second / 2)]
            total += share * first / second * (ends[0] - ends[1])
    return total + OUTLIERS


def _density(off: Tensor, steps: Tensor, noise: float) -> Tensor:
    """Wrapped normal density of the distance from the nearest multiple of the step."""
    distances = torch.stack([off - steps, off, off + steps]) / noise
    return torch.exp(-(distances**2) / 2).sum(0) / (noise * math.sqrt(2 * math.pi))
