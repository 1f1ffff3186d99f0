"""Inpainting: fills the pixels that a mask marks, and leaves all others bit-identical."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import RestoreError
from ..fill import clusters
from ..large import BandImage, BandProblem, DiskImage, MemoryImage, neighbourhood
from ..large import fill as large_fill
from ..large.fill import fill_hole
from ..large.neighbourhood import Neighbourhood, Part
from ..model import Noise
from ..operators import Mask
from ..spans import bands, widened
from .arrays import AnyImage, as_array, is_one, size_of, to_tensor
from .band_task import BandTask
from .base import Restoration, RunOptions
from .holes import as_hole, make_finite, shaped_like, to_integers
from .transparency import without_hidden

# Distances of unknown pixels to the nearest known ones, in pixels
WIDE = 3.0  # holes are wide if the mean distance is larger
DEEP = 33.0  # and deep if the largest is larger: in the middle of deep holes, colours that start from noise drift
FURTHEST = 256  # larger distances are clipped
CASES = ("thin", "wide", "deep")


class SeamlessMask(Mask):
    """A mask whose `fit` leaves no seam around a hole.

    The error of an estimate at known pixels, mostly a drift in colour, extends into the hole. So `fit` continues the
    error y - x at the known pixels smoothly into the hole, and adds it everywhere. Known pixels become y's, as with
    `Mask`, and `fit` is idempotent.
    """

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + the smooth continuation of y - x."""
        fitted = MemoryImage(torch.empty_like(x))
        self.fit_image(MemoryImage(x), MemoryImage(y), fitted)
        return fitted.pixels

    def fit_image(self, x: BandImage, y: BandImage, fitted: DiskImage | MemoryImage) -> None:
        """Computes `fit` band by band, and writes it to `fitted`."""
        for rows in x.bands():
            fitted.write(y.read(rows).to(x.device) - x.read(rows), rows)
        fill_hole(fitted, ~self.known)
        for rows in x.bands():
            part = x.read(rows) + fitted.read(rows)
            fitted.write(Mask.fit(self.crop(rows), part, y.read(rows).to(x.device)), rows)


class Inpaint(BandTask):
    """The operator is the mask; the first estimate continues the known pixels smoothly, coarse to fine."""

    name = "inpaint"
    summary = "fills the marked pixels and leaves all others unchanged"

    def pose(self, image: BandImage, *, mask: Any = None, **inputs: Any) -> BandProblem:
        """Poses the problem of filling the holes of `image`.

        Args:
            image: its pixels under the mask are ignored.
            mask: the pixels to fill; see `holes.as_hole`.

        Raises:
            RestoreError: see `holes.as_hole`.
        """
        return _Filling(image, as_hole(mask, image.size))

    def ignored(self, size: Sequence[int], *, mask: Any = None, **inputs: Any) -> Tensor | None:
        """See `Task.ignored`: the marked pixels."""
        return as_hole(mask, size)

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """Converts the mask to bool (1 or B, 1, H, W), and replaces hidden colours and NaN under it."""
        mask = inputs.get("mask")
        plain = getattr(mask, "dtype", None) in (bool, torch.bool)
        hole = as_hole(mask, size_of(image), [] if plain else to_integers(image))
        pictures = len(image) if isinstance(image, Tensor) and image.ndim == 4 else 1
        if len(hole) not in (1, pictures):
            raise RestoreError(f"mask: {len(hole)} masks for {pictures} pictures; give one, or one for each")
        inputs = {**inputs, "mask": hole}
        if isinstance(image, Image.Image):
            return without_hidden(image, hole[0, 0].numpy()), inputs
        return make_finite(image, hole), inputs

    def restore_large(self, image: Any, inputs: Mapping[str, Any], options: RunOptions) -> Restoration | None:
        """See `Task.restore_large`; a small hole is restored in its neighbourhood, in memory."""
        return self._restore_nearby(image, inputs, options) or super().restore_large(image, inputs, options)

    def _restore_nearby(self, image: Any, inputs: Mapping[str, Any], options: RunOptions) -> Restoration | None:
        """Restores one picture from its hole's neighbourhood; None if that is hardly less work than the whole."""
        model, hole, size = options.model, inputs["mask"], size_of(image)
        alone = is_one(image) and model.at_once(*size) == 1  # batched pictures are restored whole, with the same bits
        if not (alone and model.network.exact_tiles and hole.any()):
            return None
        if self.is_large(size) and any(large_fill.in_tiles(window) for window in clusters(hole[0, 0].numpy())):
            return None  # the whole image's fill differs slightly
        array, from_array = as_array(image)
        posed, scheme = self._pose_array(array, inputs, options)
        found = neighbourhood.find(hole, scheme, model.network)
        if found is None:
            return None
        assert isinstance(posed, _Filling)
        windows = [near.window for near in found]
        noises = neighbourhood.window_noise(Noise([options.seed]), size, windows)
        parts = [posed.part(near, noise) for near, noise in zip(found, noises, strict=True)]
        restored = array.copy()
        for window, x in zip(windows, neighbourhood.run(scheme, model, parts, options.progress), strict=True):
            filled = to_tensor(array[:1, :1])[1](x)
            unknown = shaped_like(hole[:, :, window.rows, window.columns], filled)
            np.copyto(restored[window.rows, window.columns], filled, where=unknown)
        return Restoration(from_array(restored), scheme, scheme.nfe, posed.case, model.name)

    def finish(self, restored: Any, image: AnyImage, *, mask: Any = None, **inputs: Any) -> Any:
        """Copies the known pixels from the input, as floats converted to [-1, 1] and back have rounding errors."""
        hole = as_hole(mask, size_of(image))
        if isinstance(image, np.ndarray):
            np.copyto(restored, image, where=~shaped_like(hole, image))
        elif isinstance(image, Tensor):
            return torch.where(shaped_like(hole, image), restored, image.detach())
        elif image.mode == restored.mode:  # `prepare` has filled pixels hidden under transparency
            restored.paste(image, mask=Image.fromarray(~hole[0, 0].numpy()))
        return restored


class _Filling(BandProblem):
    """Filling a hole (B or 1, 1, H, W) bool."""

    def __init__(self, image: BandImage, hole: Tensor) -> None:
        case = max((_case(one) for one in hole[:, 0].cpu().numpy()), key=CASES.index)
        super().__init__(image, case=case)
        ranges = [known_range(image.read(rows), hole[:, :, rows].to(image.device)) for rows in image.bands()]
        lows, highs = (torch.stack(each) for each in zip(*ranges, strict=True))
        self._hole = hole
        self._mask = (Mask if case == "thin" else SeamlessMask)(~hole, (lows.amin(0), highs.amax(0)))

    def operator(self, rows: slice, columns: slice = slice(None)) -> Mask:
        return self._mask.crop(rows, columns)

    def part(self, near: Neighbourhood, noise: Callable[[Tensor], Tensor]) -> Part:
        """The problem in the neighbourhood of a hole."""
        rows, columns = near.window.rows, near.window.columns
        y = self.image.read(rows, columns)
        x = MemoryImage(y.clone())
        fill_hole(x, self._hole[:, :, rows, columns])
        return Part(near, x.pixels, self.operator(rows, columns), y, noise)

    def estimate(self, rows: slice) -> Tensor:
        return self.image.read(rows).clone()  # `complete` fills it in place

    def complete(self, x: DiskImage | MemoryImage) -> None:
        fill_hole(x, self._hole)

    def known(self, rows: slice, columns: slice) -> Tensor:
        return self.operator(rows, columns).known

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor | None:
        if isinstance(self._mask, SeamlessMask):
            return None
        return self.operator(rows, columns).fit(x, self.image.read(rows, columns).to(x.device))

    def fit(self, x: DiskImage, fitted: DiskImage, error: float = 0.0) -> None:
        if isinstance(self._mask, SeamlessMask):
            self._mask.fit_image(x, self.image, fitted)
        else:
            super().fit(x, fitted, error)


def known_range(images: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and largest values of each image's known pixels in each channel, (B, 3, 1, 1)."""
    low = images.masked_fill(hole, torch.inf).amin((2, 3), keepdim=True)
    return low, images.masked_fill(hole, -torch.inf).amax((2, 3), keepdim=True)


def distances(hole: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Distances (N,) of the unknown pixels to the nearest known ones, clipped to FURTHEST.

    Computed in bands of rows: the distances of a whole large picture would take eight times its memory.

    Args:
        hole: (H, W) bool, True where pixels are unknown.
        size: of OpenCV's distance mask, 3 or 5: the larger is more exact.
    """
    for rows in bands(hole.shape):
        outer, inner = widened(rows, FURTHEST, len(hole))
        found = cv2.distanceTransform(hole[outer].astype(np.uint8), cv2.DIST_L2, size)[inner]
        yield np.minimum(found, FURTHEST)[hole[rows]]


def _case(hole: np.ndarray) -> str:
    """One of CASES, by the distances of the unknown pixels to the nearest known ones."""
    total, largest, count = 0.0, 0.0, int(np.count_nonzero(hole))
    for found in distances(hole, 3):
        total, largest = total + float(found.sum(dtype=np.float64)), max(largest, float(found.max(initial=0.0)))
    if largest > DEEP:
        return "deep"
    return "wide" if total > WIDE * count else "thin"
