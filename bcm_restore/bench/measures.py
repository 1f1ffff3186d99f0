"""The metrics of the bench, one a column."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import metrics
from ..errors import RestoreError
from ..metrics import frechet, perceptual, visual
from ..simulation.degradations import Example
from .statistics import Better

BEST_PSNR = 100.0  # dB; keeps means finite if pictures are equal
ENOUGH_FOR_FID = 2000  # pictures; FIDs of fewer are rarely reported

Function = Callable[[np.ndarray, Example], float]  # a result (H, W, 3) uint8 and its example -> value


@dataclass(frozen=True)
class Measure:
    """A metric and its column.

    Attributes:
        title: the column's title.
        unit: of its values; "" for none.
        better: which values are better.
        function: measures one result; None for a metric of a whole set.
        missing: None if available; otherwise one line on what it needs and how to get that.
    """

    title: str
    unit: str
    better: Better
    function: Function | None = None
    missing: str | None = None


def measures(task: str) -> dict[str, Measure]:
    """The metrics of a task, in the order of the columns, after checking which are available.

    - psnr, psnr_y, psnr_hole: of all pixels, of the luma, and of the pixels in the hole; capped at 100 dB, also for
      equal pictures.
    - ssim, ssimulacra2, flip, haarpsi, lpips_alex, lpips_vgg: of the whole picture.
    - fid, swd: `metrics.fid` and `metrics.sliced_wasserstein` of all results of a case; they have no `function`.
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
        "ssimulacra2": Measure("SSIMULACRA2", "", "higher", _ssimulacra2),
        "flip": _checked(Measure("FLIP", "", "lower", _flip), visual.load_flip),
        "haarpsi": _checked(Measure("HaarPSI", "", "higher", _haarpsi), visual.load_haarpsi),
        "swd": Measure("SWD of patches", "", "lower"),
        "lpips_alex": _checked(
            Measure("LPIPS (AlexNet)", "", "lower", _lpips("alex")), partial(perceptual.load, "alex")
        ),
        "lpips_vgg": _checked(Measure("LPIPS (VGG)", "", "lower", _lpips("vgg")), partial(perceptual.load, "vgg")),
        "fid": _checked(Measure("FID", "", "lower"), frechet.load),
    }


def fid_note(pictures: int) -> str | None:
    """A caveat on an FID of n pictures; None from 2,000 on."""
    if pictures < 2:
        return "there is no FID of a single picture"
    if pictures >= ENOUGH_FOR_FID:
        return None
    return f"FID of {pictures:,} pictures means little: {ENOUGH_FOR_FID:,} or more are usual"


def path_length(result: np.ndarray, example: Example) -> float:
    """Path length of an interpolation: the sum of the distances between frames over that between the two pictures.

    Distances are root mean squares. 1 is the straight line, a cross-fade; any other path is longer.

    Args:
        result: (H, frames*W, 3) uint8, the frames side by side.
        example: `damaged` (2, H, W, 3) uint8 are the two pictures, `inputs["frames"]` is the number of frames.

    Raises:
        RestoreError: the two pictures are equal.
    """
    whole = _distance(*example.damaged)
    if not whole:
        raise RestoreError("interpolate: the two pictures are equal, so there is no path between them; choose others")
    frames = _frames(result, example)
    return sum(map(_distance, frames[:-1], frames[1:])) / whole


def psnr_ends(result: np.ndarray, example: Example) -> float:
    """PSNR in dB, at most 100, of the first and the last frame together.

    Args:
        result: (H, frames*W, 3) uint8, the frames side by side.
        example: `damaged` (2, H, W, 3) uint8 are the two pictures, `inputs["frames"]` is the number of frames.
    """
    frames = _frames(result, example)
    return _capped(metrics.psnr(np.stack([frames[0], frames[-1]]), example.damaged))


def _checked(measure: Measure, load: Callable[[], object]) -> Measure:
    """The measure, with `missing` set if its network cannot be loaded."""
    try:
        load()
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


def _ssimulacra2(result: np.ndarray, example: Example) -> float:
    return metrics.ssimulacra2(result, example.clean)


def _flip(result: np.ndarray, example: Example) -> float:
    return metrics.flip(result, example.clean)


def _haarpsi(result: np.ndarray, example: Example) -> float:
    return metrics.haarpsi(result, example.clean)


def _lpips(net: perceptual.Net) -> Function:
    return lambda result, example: metrics.lpips(result, example.clean, net)


def _frames(result: np.ndarray, example: Example) -> list[np.ndarray]:
    return np.split(result, example.inputs["frames"], axis=1)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square of the difference."""
    return float(np.sqrt(((a.astype(np.float64) - b) ** 2).mean()))
