"""Blind JPEG restoration: among the pictures that would compress to the same file, a likely one."""

from typing import Any

from torch import Tensor

from ..errors import NothingToRestore
from ..operators import Jpeg as JpegOperator
from ..operators import estimate_quality
from .base import Problem, Task


class Jpeg(Task):
    """The operator is the quantisation set of the file's own coefficients; the estimate is the decoded picture."""

    name = "jpeg"
    summary = "takes blocks, ringing and banding out of a JPEG of any quality"

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
            if quality is None:
                raise NothingToRestore(
                    "no trace of JPEG compression in the pixels; give the quality to restore it anyway"
                )
            operator = JpegOperator.from_pixels(pixels, quality)
        else:
            operator = JpegOperator(coefficients)
        return Problem(operator, operator.y, image, t0=operator.level())
