"""Inpainting: what a mask marks is filled, and every other pixel stays as it is, to the bit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import rasters
from ..giants import Giant
from ..operators import Mask, Operator
from ..rasters import Raster, bands, widened
from .arrays import AnyImage, to_raster, to_tensor
from .base import Problem, Task
from .fill import smooth_fill
from .giant_fill import fill_raster
from .holes import as_hole, beside, finite_in, integers_of, size_of
from .transparency import without_hidden

# Distances of a hole's pixels from what is known, in pixels: holes are wide where the mean is larger than this,
WIDE = 3.0
# and deep where the largest is larger than this: in the middle of such holes, colours that begin as noise drift
DEEP = 33.0
FURTHEST = 256  # that is looked at
CASES = ("thin", "wide", "deep")


class SeamlessMask(Mask):
    """A mask whose `fit` leaves no seam around a hole.

    What an estimate gets wrong where the truth is known, it gets wrong beside it as well, a drift in colour above all:
    `fit` takes the error y - x at the known pixels, continues it smoothly into the hole, and adds it everywhere. Known
    pixels are y's as with `Mask`, and doing it twice is doing it once.
    """

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + the smooth continuation of y - x."""
        return super().fit(x + fill_batch(y - x, ~self.known), y)


class Inpaint(Task):
    """The operator is the mask; the first estimate continues the known pixels smoothly, coarse to fine."""

    name = "inpaint"
    summary = "fills what a mask marks and leaves the rest as it is"

    def problem(self, image: Tensor, *, mask: Any = None, **inputs: Any) -> Problem:
        """The problem of filling the holes of `image` (B, 3, H, W).

        Args:
            image: in [-1, 1]; what it holds under the mask is not looked at.
            mask: where it is to be filled; see `holes.as_hole`.

        Raises:
            RestoreError: see `holes.as_hole`.
        """
        hole = as_hole(mask, image.shape)
        case = max((_case(mask) for mask in hole[:, 0].cpu().numpy()), key=CASES.index)
        limits = known_range(image, hole.to(image.device))
        operator = Mask(~hole, limits) if case == "thin" else SeamlessMask(~hole, limits)
        return Problem(operator, image, fill_batch(image, hole), case=case)

    def ignored(self, size: Sequence[int], *, mask: Any = None, **inputs: Any) -> Tensor | None:
        """See `Task.ignored`: what the mask marks."""
        return as_hole(mask, size)

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """The mask as bool (1 or B, 1, H, W), and nothing in the picture of what is under it, as it may be NaN."""
        mask = inputs.get("mask")
        plain = getattr(mask, "dtype", None) in (bool, torch.bool)
        hole = as_hole(mask, size_of(image), [] if plain else integers_of(image))
        inputs = {**inputs, "mask": hole}
        if isinstance(image, Image.Image):
            return without_hidden(image, hole[0, 0].numpy()), inputs
        return finite_in(hole, image), inputs

    def giant(self, image: np.ndarray, *, mask: Any = None, **inputs: Any) -> Giant | None:
        """See `Task.giant` and `problem`."""
        if image.shape[0] * image.shape[1] <= rasters.LARGE:
            return None
        hole = as_hole(mask, image.shape[:2])[0, 0].numpy()
        return _Giant(image, hole, _case(hole))

    def finish(self, restored: Any, image: AnyImage, *, mask: Any = None, **inputs: Any) -> Any:
        """Floats don't survive the way to [-1, 1] and back to the last bit: known pixels come from the input."""
        hole = as_hole(mask, size_of(image))
        if isinstance(image, np.ndarray):
            np.copyto(restored, image, where=~beside(hole, image))
        elif isinstance(image, Tensor):
            return torch.where(beside(hole, image), restored, image.detach())
        elif image.mode == restored.mode:  # what is hidden under transparency was filled
            restored.paste(image, mask=Image.fromarray(~hole[0, 0].numpy()))
        return restored


class _Giant(Giant):
    """Filling what is marked in (H, W[, 3]) pixels."""

    def __init__(self, image: np.ndarray, hole: np.ndarray, case: str) -> None:
        super().__init__(hole.shape, case=case)
        self._image, self._hole, self._seamless = image, hole, case != "thin"
        self._mask = Mask(torch.from_numpy(~hole)[None, None])

    def begin(self, x: Raster) -> None:
        to_raster(self._image, x)
        parts = [
            known_range(self.measured(rows, self._mask), ~self._mask.crop(rows).known) for rows in bands(self.size)
        ]
        lows, highs = (torch.stack(each) for each in zip(*parts, strict=True))
        self._mask.limits = lows.amin(0), highs.amax(0)
        fill_raster(x, self._hole)

    def operator(self, rows: slice) -> Mask:
        return self._mask.crop(rows)

    def measured(self, rows: slice, operator: Operator) -> Tensor:
        return to_tensor(self._image[rows])[0]

    def known(self, rows: slice, columns: slice) -> Tensor:
        return self._mask.crop(rows, columns).known

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor | None:
        if self._seamless:
            return None
        y = to_tensor(self._image[rows, columns])[0]
        return self._mask.crop(rows, columns).fit(x, y.to(x.device))

    def fit(self, x: Raster, fitted: Raster) -> None:
        """As `SeamlessMask` does where the hole is wide."""
        if not self._seamless:
            super().fit(x, fitted)
            return
        for rows in bands(self.size):
            fitted.write(self.measured(rows, self._mask).to(x.device) - x.read(rows), rows)
        fill_raster(fitted, self._hole)
        for rows in bands(self.size):
            y = self.measured(rows, self._mask).to(x.device)
            fitted.write(self.operator(rows).fit(x.read(rows).add_(fitted.read(rows)), y), rows)


def known_range(images: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each image's known pixels in each channel, (B, 3, 1, 1)."""
    low = images.masked_fill(hole, torch.inf).amin((2, 3), keepdim=True)
    return low, images.masked_fill(hole, -torch.inf).amax((2, 3), keepdim=True)


def fill_batch(images: Tensor, hole: Tensor) -> Tensor:
    """The smooth fill of images (B, 3, H, W), unknown where hole (B or 1, 1, H, W) is True."""
    holes = hole.expand(len(images), -1, -1, -1)[:, 0].cpu().numpy()
    filled = torch.empty_like(images)
    for out, pixels, mask in zip(filled, images, holes, strict=True):
        solution = smooth_fill(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()), mask)
        out.copy_(torch.from_numpy(solution).permute(2, 0, 1))
    return filled


def distances(hole: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Distances (N,) of the unknown pixels from what is known, none taken for more than FURTHEST.

    By bands of rows: distances of a whole large picture would take eight times its memory.

    Args:
        hole: (H, W) bool, True where pixels are unknown.
        size: 3 or 5, of OpenCV's masks: the larger is nearer to the true distance.
    """
    for rows in bands(hole.shape):
        outer, inner = widened(rows, FURTHEST, len(hole))
        found = cv2.distanceTransform(hole[outer].astype(np.uint8), cv2.DIST_L2, size)[inner]
        yield np.minimum(found, FURTHEST)[hole[rows]]


def _case(hole: np.ndarray) -> str:
    """One of CASES, by the distances of the unknown pixels from what is known."""
    total, largest, count = 0.0, 0.0, int(np.count_nonzero(hole))
    for found in distances(hole, 3):
        total, largest = total + float(found.sum(dtype=np.float64)), max(largest, float(found.max(initial=0.0)))
    if largest > DEEP:
        return "deep"
    return "wide" if total > WIDE * count else "thin"
