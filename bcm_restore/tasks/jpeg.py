"""Blind JPEG restoration: a likely picture among those that compress to the same file."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import NothingToRestore
from ..large import BandImage, BandProblem
from ..operators import Coefficients, Operator
from ..operators import Jpeg as JpegOperator
from ..operators.dct import standard_tables
from ..operators.jpeg import coefficients_of, crop, quantisation_level, strip_height
from ..operators.jpeg_earlier import find_earlier, find_first, operator_of
from ..operators.jpeg_history import quality_of_parts, sampling_of_parts
from ..operators.jpeg_part import JpegPart
from ..operators.jpeg_search import History
from ..operators.local_range import cells
from ..spans import widened
from .arguments import whole
from .arrays import AnyImage, ArrayImage
from .band_task import BandTask
from .pil import with_coefficients

UNIT = 32  # rows: whole blocks, whatever the chroma
SHARED = 4 / 3  # factor on t0 if the channels share the error: its luma is that of stronger independent noise
REACH = 32  # rows: a chroma sample does not depend on pixels further away
SAMPLE = 1 << 22  # pixels of a large picture that are searched for an earlier compression


class Jpeg(BandTask):
    """The operator is the quantisation set of the file's coefficients; the first estimate is the decoded picture."""

    name = "jpeg"
    summary = "removes blocks, ringing and banding from a JPEG of any quality"
    batches = False  # pictures differ in quality

    def pose(
        self, image: BandImage, *, coefficients: Any = None, input_quality: int | None = None, **inputs: Any
    ) -> BandProblem:
        """Poses the problem of restoring a decoded JPEG.

        A picture that was compressed twice is restored from the coarser compression, even if its blocks are shifted;
        the `remark` says so.

        Args:
            image: the decoded picture, as stored in the file (orientation not applied); not a batch.
            coefficients: the file's, from `bcm_restore.images.jpeg_coefficients`, if available: they give the best
                results.
            input_quality: the quality (1 to 100) of an earlier compression, before the picture was saved to this file;
                None: estimated.

        Raises:
            NothingToRestore: there are no coefficients, and the pixels show no trace of JPEG compression.
        """
        quality = None if input_quality is None else whole("input_quality", input_quality)
        coefficients = _usable(coefficients, quality)
        rows = image.middle(SAMPLE, 96)  # whole blocks, whatever the chroma
        pixels = image.read(rows).cpu()  # a search through many small blocks
        if coefficients is not None:
            own = _cropped(coefficients, rows, image)
            searched = _colour(own) == "YCbCr" and _full_luma(own)
            history = find_earlier(own, pixels, quality) if searched else None
            if history is None:
                return _LastCompression(image, coefficients)
            return _EarlierCompression(image, history, coefficients, operator_of(history, pixels, own))
        history = find_first(pixels, quality)
        if not image.in_memory and (history is None or history.plain):
            return _LastCompression(image, *_from_pixels(image, quality))
        if history is None:
            raise _no_trace()
        return _EarlierCompression(image, history, None, operator_of(history, pixels))

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """Reads the coefficients of a PIL image's file; estimates the quality before hidden pixels are filled.

        The fill has no trace of compression.
        """
        inputs = with_coefficients(image, inputs)
        known, inputs = super().prepare(image, inputs)
        if isinstance(image, Image.Image) and known is not image and not inputs.get("coefficients"):
            quality = inputs.get("input_quality") or quality_of(np.asarray(image.convert("RGB")))
            inputs = {**inputs, "input_quality": quality}
        return known, inputs


class _Compressed(BandProblem):
    """Restoring a decoded JPEG, from any compression.

    Args:
        image: the decoded picture.
        whole: the operator of the whole image, if it is in memory.
        unit: rows that hold whole blocks; also how far pixels outside a band influence it.
        t0: the expected error of the image.
    """

    def __init__(
        self, image: BandImage, whole: JpegOperator | JpegPart | None, unit: int, t0: float, remark: str = ""
    ) -> None:
        super().__init__(image, t0=t0, remark=remark)
        self._whole = whole if image.in_memory else None
        self.unit = self.reach = unit

    def operator(self, rows: slice) -> JpegOperator | JpegPart:
        operator = self._whole or self._of_band(rows)
        operator.surroundings = cells(self.image.read(rows), 8)
        return operator

    def measured(self, rows: slice, operator: Operator) -> Any:
        assert isinstance(operator, JpegOperator | JpegPart)
        return operator.y

    @abstractmethod
    def _of_band(self, rows: slice) -> JpegOperator | JpegPart:
        """The operator without surroundings."""


class _LastCompression(_Compressed):
    """Restoring from the coefficients of the last compression; `grey`: see `operators.Jpeg`."""

    def __init__(self, image: BandImage, coefficients: Coefficients, grey: bool | None = None) -> None:
        whole = JpegOperator(coefficients, grey) if image.in_memory else None
        one = _grey(image) if grey is None else grey
        t0 = _level(coefficients.planes, coefficients.tables, _colour(coefficients), one)
        super().__init__(image, whole, _unit(coefficients), t0)
        self._coefficients, self._grey = coefficients, grey

    def _of_band(self, rows: slice) -> JpegOperator:
        return JpegOperator(crop(self._coefficients, rows), self._grey)


class _EarlierCompression(_Compressed):
    """Restoring from the coefficients of an earlier compression, which are estimated band by band.

    Args:
        image: the decoded picture.
        history: the earlier compression.
        coefficients: of the last compression, if the image was read from a JPEG.
        sample: the operator of rows in the middle.
    """

    def __init__(
        self, image: BandImage, history: History, coefficients: Coefficients | None, sample: JpegOperator | JpegPart
    ) -> None:
        unit, grey = math.lcm(UNIT, _unit(coefficients) if coefficients else UNIT), _grey(image)
        jpeg = sample.jpeg if isinstance(sample, JpegPart) else sample
        t0 = _level([k[0] for k in jpeg.y], [c.table for c in jpeg.components], jpeg.colour, grey)
        super().__init__(image, sample, unit, t0, str(history))
        self._history, self._coefficients, self._grey = history, coefficients, grey

    def _of_band(self, rows: slice) -> JpegOperator | JpegPart:
        own = crop(self._coefficients, rows) if self._coefficients else None
        return operator_of(self._history, self.image.read(rows).cpu(), own, self._grey)


def _level(planes: Sequence[Any], tables: Sequence[Any], colour: str, grey: bool) -> float:
    """The error of the first estimate; for a grey picture by the luma, as the chroma has no error."""
    if grey and colour == "YCbCr":
        return SHARED * quantisation_level(planes[:1], tables[:1])
    return quantisation_level(planes, tables, colour)


def _unit(coefficients: Coefficients) -> int:
    return strip_height(max(down for down, _ in coefficients.sampling))


def _from_pixels(image: BandImage, quality: int | None) -> tuple[Coefficients, bool]:
    """Recovers coefficients from pixels, as `JpegOperator.from_pixels` does; also whether the pixels are grey."""
    size, parts = image.size, list(image.bands(UNIT))
    quality = quality or _quality(image)
    if quality is None:
        raise _no_trace()
    grey = _grey(image)
    factor = None if grey else sampling_of_parts((image.read(rows).cpu() for rows in parts), quality)
    tables = standard_tables(quality)[: 2 if factor else 1]
    planes: list[Tensor] = []
    for rows in parts:
        outer, inner = widened(rows, REACH, size[0])
        part = crop(coefficients_of(image.read(outer).cpu(), tables, factor or (1, 1)), inner)
        for n, (plane, (down, _)) in enumerate(zip(part.planes, part.sampling, strict=True)):
            height = 8 * part.sampling[0][0] // down  # image rows per block
            if rows.start == 0:
                planes.append(plane.new_empty(-(-size[0] // height), *plane.shape[1:]))
            planes[n][rows.start // height :][: len(plane)] = plane
    return Coefficients(size, planes, part.tables, part.sampling), grey


def quality_of(image: np.ndarray) -> int | None:
    """Estimates the quality that (H, W[, 3]) pixels were once saved with, band by band; None: no trace of JPEG."""
    return _quality(ArrayImage(image))


def _quality(image: BandImage) -> int | None:
    return quality_of_parts(image.read(rows).cpu() for rows in image.bands(UNIT))


def _grey(image: BandImage) -> bool:
    parts = (image.read(rows) for rows in image.bands(UNIT))
    return all(bool((part == part[:, :1]).all()) for part in parts)


def _cropped(coefficients: Coefficients, rows: slice, image: BandImage) -> Coefficients:
    """The coefficients of a band."""
    return coefficients if rows == slice(0, image.size[0]) else crop(coefficients, rows)


def _usable(coefficients: Any, quality: int | None) -> Any:
    """The coefficients; None if a quality is given but their colour space rules out an earlier compression."""
    return None if quality and coefficients is not None and _colour(coefficients) != "YCbCr" else coefficients


def _colour(coefficients: Any) -> str:
    return getattr(coefficients, "colour", "YCbCr")


def _full_luma(coefficients: Any) -> bool:
    """Whether no component has a higher resolution than luma: earlier compressions are searched in blocks of luma."""
    luma, *others = coefficients.sampling
    return all(luma[0] >= down and luma[1] >= across for down, across in others)


def _no_trace() -> NothingToRestore:
    return NothingToRestore("no trace of JPEG compression in the pixels; give input_quality to restore it anyway")
