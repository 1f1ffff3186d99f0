"""Statistics over pictures: means, standard errors and paired comparisons."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

Better = Literal["higher", "lower"]

RESAMPLES = 10_000
CONFIDENCE = 95  # %
CHUNK = 100  # resamples in memory


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of one or more values and its standard error, sample deviation / sqrt(n); None for a single value."""
    count = len(values)
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else None


def paired(
    ours: Mapping[str, float], reference: Mapping[str, float], better: Better, seed: int = 0
) -> dict[str, float | None]:
    """Compares two contestants on the pictures that they have in common.

    The interval is Efron's percentile bootstrap over pictures (Efron and Tibshirani, An Introduction to the Bootstrap,
    1993, chapter 13): if it includes zero, the difference may be chance.

    Args:
        ours, reference: values by the pictures' names.
        better: which values are better.
        seed: of the resamples.

    Returns:
        "difference": mean of ours minus reference. "low", "high": its 95 % interval, None for a single picture.
        "win_rate": share of the pictures where ours is better, in [0, 1]; a tie is half a win.

    Raises:
        ValueError: they have no picture in common.
    """
    both = sorted(ours.keys() & reference.keys())
    if not both:
        raise ValueError("the two have no picture in common")
    differences = np.array([ours[name] - reference[name] for name in both])
    wins = differences > 0 if better == "higher" else differences < 0
    low, high = _interval(differences, seed) if len(both) > 1 else (None, None)
    return {
        "difference": float(differences.mean()),
        "low": low,
        "high": high,
        "win_rate": float((wins + (differences == 0) / 2).mean()),
    }


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean."""
    rng = np.random.default_rng(seed)
    size = (CHUNK, len(values))
    means = [values[rng.integers(len(values), size=size)].mean(axis=1) for _ in range(RESAMPLES // CHUNK)]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
