"""What results are measured by: the columns of the bench."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import metrics
from ..errors import RestoreError
from ..metrics import frechet, perceptual
from ..simulation.degradations import Example
from .statistics import Better

BEST_PSNR = 100.0  # dB; equal pictures would make a mean infinite
USUAL = 2000  # pictures, from which on an FID is usually reported

Of = Callable[[np.ndarray, Example], float]  # of a result (H, W, 3) uint8


@dataclass(frozen=True)
class Measure:
    """A column.

    Attributes:
        title: its head.
        unit: of its values, "" where they have none.
        better: which values are.
        of: measures a result; None: it is of whole sets.
        missing: one line that says what it needs and how to get it; then it has no values. None: it has all.
    """

    title: str
    unit: str
    better: Better
    of: Of | None = None
    missing: str | None = None


def measures(task: str) -> dict[str, Measure]:
    """The columns of a task, in their order, after a try whether they can be measured here.

    - psnr, psnr_y, psnr_hole: of all pixels, of the luma, and of the pixels in the hole; never above 100 dB, which is
      what equal pictures have.
    - ssim, lpips_alex, lpips_vgg: of the whole picture.
    - fid: `metrics.fid` of all results of a case; has no `of`.
    - path_length, psnr_ends: see the functions of those names.
    """
    if task == "interpolate":
        return {
            "path_length": Measure("Path length", "", "lower", path_length),
            "psnr_ends": Measure("PSNR of the ends", "dB", "higher", psnr_ends),
        }
    hole = {"psnr_hole": Measure("PSNR in the hole", "dB", "higher", _psnr_hole)} if task == "inpaint" else {}
    return {
        "psnr": Measure("PSNR", "dB", "higher", _psnr),
        "psnr_y": Measure("PSNR-Y", "dB", "higher", _psnr_y),
        **hole,
        "ssim": Measure("SSIM", "", "higher", _ssim),
        "lpips_alex": _tried(Measure("LPIPS (AlexNet)", "", "lower", _lpips("alex")), partial(perceptual.load, "alex")),
        "lpips_vgg": _tried(Measure("LPIPS (VGG)", "", "lower", _lpips("vgg")), partial(perceptual.load, "vgg")),
        "fid": _tried(Measure("FID", "", "lower"), frechet.load),
    }


def fid_note(pictures: int) -> str | None:
    """What is to be said of an FID of so many pictures, None from 2,000 on; a single one has none at all."""
    if pictures < 2:
        return "there is no FID of a single picture"
    return f"FID of {pictures:,} pictures means little: {USUAL:,} or more are usual" if pictures < USUAL else None


def path_length(result: np.ndarray, example: Example) -> float:
    """How far an interpolation walks: the sum of the steps between frames over the distance between the two pictures.

    Distances are root mean squares. 1 is the straight line, a cross-fade; what takes another way is longer.

    Args:
        result: (H, frames*W, 3) uint8, the frames side by side.
        example: `damaged` (2, H, W, 3) uint8 are the two pictures, `inputs["frames"]` is their number.

    Raises:
        RestoreError: the two pictures are equal.
    """
    whole = _distance(*example.damaged)
    if not whole:
        raise RestoreError(
            "interpolate: the two pictures are equal, no path leads from one to the other; choose others"
        )
    frames = _frames(result, example)
    return sum(map(_distance, frames[:-1], frames[1:])) / whole


def psnr_ends(result: np.ndarray, example: Example) -> float:
    """PSNR in dB, at most 100, of the first and the last frame, by the mean of both squared errors.

    Args:
        result: (H, frames*W, 3) uint8, the frames side by side.
        example: `damaged` (2, H, W, 3) uint8 are the two pictures, `inputs["frames"]` is their number.
    """
    frames = _frames(result, example)
    return _capped(metrics.psnr(np.stack([frames[0], frames[-1]]), example.damaged))


def _tried(measure: Measure, attempt: Callable[[], object]) -> Measure:
    """The measure, with what it lacks."""
    try:
        attempt()
    except RestoreError as error:
        return replace(measure, missing=str(error))
    return measure


def _capped(decibels: float) -> float:
    return min(decibels, BEST_PSNR)


def _psnr(result: np.ndarray, example: Example) -> float:
    return _capped(metrics.psnr(result, example.clean))


def _psnr_y(result: np.ndarray, example: Example) -> float:
    return _capped(metrics.psnr_y(result, example.clean))


def _psnr_hole(result: np.ndarray, example: Example) -> float:
    return _capped(metrics.psnr(result, example.clean, example.where))


def _ssim(result: np.ndarray, example: Example) -> float:
    return metrics.ssim(result, example.clean)


def _lpips(net: perceptual.Net) -> Of:
    return lambda result, example: metrics.lpips(result, example.clean, net)


def _frames(result: np.ndarray, example: Example) -> list[np.ndarray]:
    return np.split(result, example.inputs["frames"], axis=1)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square of the difference."""
    return float(np.sqrt(((a.astype(np.float64) - b) ** 2).mean()))
