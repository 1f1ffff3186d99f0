"""Blind JPEG restoration: among the pictures that would compress to the same file, a likely one."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .. import rasters
from ..errors import NothingToRestore
from ..giants import Giant
from ..operators import Coefficients, Operator
from ..operators import Jpeg as JpegOperator
from ..operators.dct import standard_tables
from ..operators.jpeg import coefficients_of, crop, quantisation_level, strip_height
from ..operators.jpeg_earlier import find_earlier, find_first, operator_of
from ..operators.jpeg_history import quality_of_parts, sampling_of_parts
from ..operators.jpeg_part import JpegPart
from ..operators.jpeg_search import History
from ..operators.local_range import cells
from ..rasters import Raster, bands, middle, widened
from .arrays import AnyImage, to_raster, to_tensor
from .base import Problem, Task

UNIT = 32  # rows: whole blocks, whatever the chroma
REACH = 32  # rows: further away pixels have no say in a sample of chroma
SAMPLE = 1 << 22  # pixels of a large picture in which an earlier compression is sought


class Jpeg(Task):
    """The operator is the quantisation set of the file's own coefficients; the estimate is the decoded picture."""

    name = "jpeg"
    summary = "takes blocks, ringing and banding out of a JPEG of any quality"
    batches = False  # each has a quality of its own

    def problem(self, image: Tensor, *, coefficients: Any = None, quality: int | None = None, **inputs: Any) -> Problem:
        """The problem of restoring a decoded JPEG (1, 3, H, W).

        A picture that was compressed twice is restored from the coarser compression, wherever its blocks lie; the
        `remark` says so.

        Args:
            image: the decoded picture, as stored in the file (orientation not applied).
            coefficients: the file's own, from `bcm_restore.images.jpeg_coefficients`; the best that can be had.
            quality: the quality (1 to 100) that the picture was once saved with, before it was saved in this file;
                None: found out.

        Raises:
            NothingToRestore: there are no coefficients, and the pixels show no trace of JPEG compression.
        """
        pixels = image.cpu()  # a search through many small blocks
        coefficients = _usable(coefficients, quality)
        history = _past(pixels, coefficients, quality)
        operator = operator_of(history, pixels, coefficients) if history else JpegOperator(coefficients)
        operator.surroundings = cells(image, 8)
        return Problem(operator, operator.y, image, t0=operator.level(), remark=str(history or ""))

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """With the quality of the pixels as they were, where hidden ones are filled by what was never compressed."""
        known, inputs = super().prepare(image, inputs)
        if isinstance(image, Image.Image) and known is not image and not inputs.get("coefficients"):
            inputs = {**inputs, "quality": inputs.get("quality") or quality_of(np.asarray(image.convert("RGB")))}
        return known, inputs

    def giant(
        self, image: np.ndarray, *, coefficients: Any = None, quality: int | None = None, **inputs: Any
    ) -> Giant | None:
        """See `Task.giant` and `problem`."""
        if image.shape[0] * image.shape[1] <= rasters.LARGE:
            return None
        coefficients = _usable(coefficients, quality)
        rows = middle((image.shape[0], image.shape[1]), SAMPLE, 96)  # whole blocks, whatever the chroma
        pixels = to_tensor(image[rows])[0]
        if coefficients is not None:
            own = crop(coefficients, rows)
            history = _past(pixels, own, quality)
            if history is None:
                return _Giant(image, coefficients, None)
            return _Past(image, history, coefficients, operator_of(history, pixels, own).level())
        history = find_first(pixels, quality)
        if history is None or history.plain:
            return _from_pixels(image, quality)
        return _Past(image, history, None, operator_of(history, pixels).level())


class _Giant(Giant):
    """Restoring a decoded JPEG, (H, W[, 3]) pixels."""

    def __init__(self, image: np.ndarray, coefficients: Coefficients, grey: bool | None) -> None:
        level = quantisation_level(coefficients.planes, coefficients.tables, _colour(coefficients))
        super().__init__((image.shape[0], image.shape[1]), t0=level)
        self._image, self._coefficients, self._grey = image, coefficients, grey
        self.unit = self.reach = strip_height(max(down for down, _ in coefficients.sampling))

    def begin(self, x: Raster) -> None:
        to_raster(self._image, x)

    def operator(self, rows: slice) -> JpegOperator:
        operator = JpegOperator(crop(self._coefficients, rows), self._grey)
        operator.surroundings = cells(to_tensor(self._image[rows])[0], 8)
        return operator

    def measured(self, rows: slice, operator: Operator) -> Any:
        assert isinstance(operator, JpegOperator | JpegPart)
        return operator.y


class _Past(Giant):
    """The same for a compression of the past: what coefficients a band had is found out when it is worked on.

    Args:
        image: the pixels.
        history: the compression.
        coefficients: of the last one, if the image is a JPEG's.
        t0: level of the first estimate.
    """

    def __init__(self, image: np.ndarray, history: History, coefficients: Coefficients | None, t0: float) -> None:
        super().__init__((image.shape[0], image.shape[1]), t0=t0)
        self.remark = str(history)
        self._image, self._history, self._coefficients = image, history, coefficients
        self._grey = _grey(image)
        own = max(down for down, _ in coefficients.sampling) if coefficients else 1
        self.unit = self.reach = math.lcm(UNIT, strip_height(own))

    def begin(self, x: Raster) -> None:
        to_raster(self._image, x)

    def operator(self, rows: slice) -> JpegOperator | JpegPart:
        pixels = to_tensor(self._image[rows])[0]
        own = crop(self._coefficients, rows) if self._coefficients else None
        operator = operator_of(self._history, pixels, own, self._grey)
        operator.surroundings = cells(pixels, 8)
        return operator

    def measured(self, rows: slice, operator: Operator) -> Any:
        assert isinstance(operator, JpegOperator | JpegPart)
        return operator.y


def _from_pixels(image: np.ndarray, quality: int | None) -> _Giant:
    """What `JpegOperator.from_pixels` does, band by band."""
    size = image.shape[0], image.shape[1]
    parts = [image[rows] for rows in bands(size, UNIT)]
    quality = quality or quality_of(image)
    if quality is None:
        raise _nothing()
    grey = _grey(image)
    factor = None if grey else sampling_of_parts((to_tensor(part)[0] for part in parts), quality)
    tables = standard_tables(quality)[: 2 if factor else 1]
    planes: list[Tensor] = []
    for rows in bands(size, UNIT):
        outer, inner = widened(rows, REACH, size[0])
        part = crop(coefficients_of(to_tensor(image[outer])[0], tables, factor or (1, 1)), inner)
        for n, (plane, (down, _)) in enumerate(zip(part.planes, part.sampling, strict=True)):
            height = 8 * part.sampling[0][0] // down  # image rows a block
            if rows.start == 0:
                planes.append(plane.new_empty(-(-size[0] // height), *plane.shape[1:]))
            planes[n][rows.start // height :][: len(plane)] = plane
    return _Giant(image, Coefficients(size, planes, part.tables, part.sampling), grey)


def quality_of(image: np.ndarray) -> int | None:
    """The quality that (H, W[, 3]) pixels were once saved with, estimated band by band; None: no trace of JPEG."""
    rows = bands((image.shape[0], image.shape[1]), UNIT)
    return quality_of_parts(to_tensor(image[part])[0] for part in rows)


def _grey(image: np.ndarray) -> bool:
    parts = (image[rows] for rows in bands((image.shape[0], image.shape[1]), UNIT))
    return all(part.ndim == 2 or bool((part == part[..., :1]).all()) for part in parts)


def _past(pixels: Tensor, own: Any, quality: int | None) -> History | None:
    """The compression to restore a picture from; None: the last one, whose coefficients are its own.

    Raises:
        NothingToRestore: see `Jpeg.problem`.
    """
    if own is not None:
        return find_earlier(own, pixels, quality) if _colour(own) == "YCbCr" else None
    history = find_first(pixels, quality)
    if history is None:
        raise _nothing()
    return history


def _usable(coefficients: Any, quality: int | None) -> Any:
    """Coefficients of a file; None where another compression is asked for that has left no trace in them."""
    return None if quality and coefficients is not None and _colour(coefficients) != "YCbCr" else coefficients


def _colour(coefficients: Any) -> str:
    return getattr(coefficients, "colour", "YCbCr")


def _nothing() -> NothingToRestore:
    return NothingToRestore("no trace of JPEG compression in the pixels; give the quality to restore it anyway")
