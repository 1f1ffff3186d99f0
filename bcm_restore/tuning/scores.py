"""The score of a scheme: PSNR, SSIM or LPIPS, or a weighted mix of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import metrics
from ..errors import RestoreError
from ..simulation.degradations import Example

MAX_PSNR = 20 * math.log10(255)  # dB: an RMS error of 1 on a scale of 0 to 255


def _psnr(result: np.ndarray, example: Example) -> float:
    # without the cap, one hole in a clear sky that is restored exactly would dominate the mean over all pictures
    return min(metrics.psnr(result, example.clean, example.where), MAX_PSNR)


def _ssim(result: np.ndarray, example: Example) -> float:
    return metrics.ssim(result, example.clean, example.where)


def _lpips(result: np.ndarray, example: Example) -> float:
    return metrics.lpips(result, example.clean)


FLAT_LIMIT = 1.0  # largest flat error without a penalty


def penalty(flat_error: float) -> float:
    """The penalty for artefacts in flat areas: 0 if flat_error <= 1, else 1000 flat_error.

    No metric spans 1000, so a scheme above the limit ranks below all schemes within it, and among schemes above the
    limit the one with the smallest flat error ranks first.

    Args:
        flat_error: RMS on a scale of 0 to 255, from `Evaluator.flat_error`.
    """
    return 0.0 if flat_error <= FLAT_LIMIT else 1000.0 * flat_error


METRICS: dict[str, Callable[[np.ndarray, Example], float]] = {"psnr": _psnr, "ssim": _ssim, "lpips": _lpips}
LOWER_IS_BETTER = {"lpips"}
UNITS = {"psnr": " dB"}
DECIMALS = {"psnr": 2, "ssim": 4, "lpips": 4}


@dataclass(frozen=True)
class Metric:
    """Weights of metrics; LPIPS, where lower is better, is subtracted."""

    weights: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        if len(self.weights) == 1:
            return self.weights[0][0]
        return ",".join(f"{name}={weight:g}" for name, weight in self.weights)

    @property
    def names(self) -> list[str]:
        """The names of the metrics."""
        return [name for name, _ in self.weights]

    def measure(self, result: np.ndarray, example: Example) -> dict[str, float]:
        """The metrics of a picture (H, W, 3) uint8, in the hole if there is one."""
        return {name: METRICS[name](result, example) for name in self.names}

    def mean(self, rows: Sequence[dict[str, float]]) -> dict[str, float]:
        """The means over pictures."""
        return {name: float(np.mean([row[name] for row in rows])) for name in self.names}

    def score(self, values: dict[str, float], flat_error: float = 0.0) -> float:
        """The score to maximise: the sum of weight (+-value - penalty(flat_error))."""
        return sum(weight * (sign(name) * values[name] - penalty(flat_error)) for name, weight in self.weights)


def sign(name: str) -> int:
    """1 if higher is better, else -1."""
    return -1 if name in LOWER_IS_BETTER else 1


def parse_metric(text: str) -> Metric:
    """Parses "psnr" or "psnr=1,lpips=20".

    Raises:
        RestoreError: a name or a weight is invalid, or a metric's requirements are not installed.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        if name not in METRICS or name in weights:
            raise RestoreError(f'--metric {text}: write psnr, ssim, lpips, or a mix such as "psnr=1,lpips=20"')
        weights[name] = _weight(text, number) if equals else 1.0
    blank = np.zeros((64, 64, 3), np.uint8)
    for name in weights:  # fails before any work if requirements are missing
        METRICS[name](blank, Example(blank, blank))
    return Metric(tuple(weights.items()))


def _weight(text: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise RestoreError(f"--metric {text}: '{number}' is not a weight; give a number above 0")
    return weight
