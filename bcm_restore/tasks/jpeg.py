"""Blind JPEG restoration: among the pictures that would compress to the same file, a likely one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .. import rasters
from ..errors import NothingToRestore
from ..giants import Giant
from ..operators import Coefficients, Operator, estimate_quality
from ..operators import Jpeg as JpegOperator
from ..operators.jpeg import coefficients_of, crop, quantisation_level, strip_height
from ..operators.jpeg_history import quality_of_parts, sampling_of_parts
from ..operators.local_range import cells
from ..rasters import Raster, bands, widened
from .arrays import AnyImage, to_raster, to_tensor
from .base import Problem, Task

UNIT = 32  # rows: whole blocks, whatever the chroma
REACH = 32  # rows: further away pixels have no say in a sample of chroma


class Jpeg(Task):
    """The operator is the quantisation set of the file's own coefficients; the estimate is the decoded picture."""

    name = "jpeg"
    summary = "takes blocks, ringing and banding out of a JPEG of any quality"
    batches = False  # each has a quality of its own

    def problem(self, image: Tensor, *, coefficients: Any = None, quality: int | None = None, **inputs: Any) -> Problem:
        """The problem of restoring a decoded JPEG (1, 3, H, W).

        Args:
            image: the decoded picture, as stored in the file (orientation not applied).
            coefficients: the file's own, from `bcm_restore.images.jpeg_coefficients`; the best that can be had.
            quality: without coefficients, the quality (1 to 100) that the picture was once saved with; None: estimated.

        Raises:
            NothingToRestore: there are no coefficients, and the pixels show no trace of JPEG compression.
        """
        if coefficients is None:
            pixels = image.cpu()  # a search through many small blocks
            if quality is None:
                quality = estimate_quality(pixels)
            operator = JpegOperator.from_pixels(pixels, _found(quality))
        else:
            operator = JpegOperator(coefficients)
        operator.surroundings = cells(image, 8)
        return Problem(operator, operator.y, image, t0=operator.level())

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
        return _from_pixels(image, quality) if coefficients is None else _Giant(image, coefficients, None)


class _Giant(Giant):
    """Restoring a decoded JPEG, (H, W[, 3]) pixels."""

    def __init__(self, image: np.ndarray, coefficients: Coefficients, grey: bool | None) -> None:
        level = quantisation_level(coefficients.planes, coefficients.tables)
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
        assert isinstance(operator, JpegOperator)
        return operator.y


def _from_pixels(image: np.ndarray, quality: int | None) -> _Giant:
    """What `JpegOperator.from_pixels` does, band by band."""
    size = image.shape[0], image.shape[1]
    parts = [image[rows] for rows in bands(size, UNIT)]
    quality = _found(quality or quality_of(image))
    grey = all(part.ndim == 2 or bool((part == part[..., :1]).all()) for part in parts)
    factor = None if grey else sampling_of_parts((to_tensor(part)[0] for part in parts), quality)
    planes: list[Tensor] = []
    for rows in bands(size, UNIT):
        outer, inner = widened(rows, REACH, size[0])
        part = crop(coefficients_of(to_tensor(image[outer])[0], quality, factor), inner)
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


def _found(quality: int | None) -> int:
    if quality is None:
        raise NothingToRestore("no trace of JPEG compression in the pixels; give the quality to restore it anyway")
    return quality
