"""Deblurring: a likely picture among those that the blur turns into the given one."""

from typing import Any

from torch import Tensor

from ..errors import NothingToRestore, RestoreError
from ..large import BandImage, BandProblem, DiskImage
from ..operators import Blur
from ..operators.blur import expected_error
from ..operators.blur_search import find_blur, noise_of_blurred
from ..operators.dct import HALF_RANGE
from ..operators.jpeg import quantisation_level
from ..operators.local_range import clamp_to_surroundings
from ..spans import widened
from .arguments import real
from .band_task import BandTask
from .base import Problem
from .kernels import AUTO, as_kernel

SAMPLE = 1 << 20  # pixels of a large picture in which blur and noise are estimated
REACH = 32  # rows besides twice the kernel's; with these, bands differ from the whole by 0.5 of 255 on average, or less
ERROR = 4.0  # of an estimate that is fitted, relative to t0
SHARED = 4 / 3  # factor on t0 if the channels share the error; see `jpeg.SHARED`


class Deblur(BandTask):
    """The operator is a convolution; the first estimate explains the blurred picture, and part of its noise."""

    name = "deblur"
    summary = "sharpens a blurred picture, with a given kernel or one found in the picture"
    batches = False  # pictures differ in blur and noise
    as_stored = False  # the kernel is that of the upright picture; coefficients only tell the noise

    def pose(
        self,
        image: BandImage,
        *,
        kernel: Any = AUTO,
        noise: float | None = None,
        coefficients: Any = None,
        **inputs: Any,
    ) -> BandProblem:
        """Poses the problem of sharpening a picture.

        Args:
            image: the blurred picture; not a batch.
            kernel: "gaussian:2", "motion:15:30" (length and angle), "disk:4", the path of a kernel's picture, an array
                or a tensor (h, w), or "auto": a Gaussian, a disk or a motion found in the picture.
            noise: standard deviation of the picture's noise, in 8-bit steps; None: estimated. At least 0.4, a
                little more than that of rounding, is expected.
            coefficients: of the picture, if it is a JPEG: their rounding counts as noise.

        Raises:
            NothingToRestore: the kernel is "auto", and no blur was found.
            RestoreError: the kernel or the noise is not supported.
        """
        sample = image.read(image.middle(SAMPLE)).cpu()
        sigma = _given(noise)
        if sigma is None:
            sigma = max(noise_of_blurred(sample), _quantisation(coefficients))
        found = find_blur(sample, sigma) if isinstance(kernel, str) and kernel == AUTO else kernel
        if found is None:
            raise NothingToRestore("no blur found in the picture; give its kernel to sharpen it anyway")
        remark = f"blur found: {found}" if found is not kernel else ""
        return _Blurred(image, as_kernel(found), sigma, bool((sample == sample[:, :1]).all()), remark)

    def united(self, x: Tensor, problem: Problem) -> Tensor:
        """See `Task.united`; clamped, so that flat areas stay flat."""
        assert isinstance(problem.operator, Blur)
        return _bounded(x, problem.y, problem.operator.kernel)


def _bounded(x: Tensor, y: Tensor, kernel: Tensor) -> Tensor:
    """Clamps a result so that flat areas stay flat.

    A pixel that differs from its surroundings by d changes the blurred picture by d times the kernel's greatest weight.
    """
    return clamp_to_surroundings(x, y, y, 1, max(kernel.shape) // 2 + 1, slack=1 / kernel.max().item())


class _Blurred(BandProblem):
    """Sharpening a picture, given the kernel and the noise."""

    def __init__(self, image: BandImage, kernel: Tensor, sigma: float, grey: bool, remark: str) -> None:
        error = expected_error(kernel, sigma)
        super().__init__(image, t0=error * (SHARED if grey else 1.0), remark=remark)
        self._kernel, self._sigma, self._error, self.reach = kernel, sigma, ERROR * error, REACH + 2 * len(kernel)

    def operator(self, rows: slice) -> Blur:
        return Blur(self._kernel, (rows.stop - rows.start, self.size[1]), self._sigma, self._error)

    def estimate(self, rows: slice) -> Tensor:
        outer, inner = widened(rows, self.reach, self.size[0])
        operator, y = self.operator(outer), self.image.read(outer)
        return operator.fit(operator.pinv(y), y)[:, :, inner]  # sharper than `pinv`, for a network that removes noise

    def finish(self, x: DiskImage) -> None:
        for rows in x.bands():
            outer, inner = widened(rows, max(self._kernel.shape), self.size[0])
            x.write(_bounded(x.read(outer), self.image.read(outer), self._kernel)[:, :, inner], rows)


def _given(noise: float | None) -> float | None:
    """The noise level of 8-bit steps.

    Raises:
        RestoreError: it is not a standard deviation.
    """
    if noise is None:
        return None
    if not 0 <= (steps := real("noise", noise)) <= 255:
        raise RestoreError(f"noise {noise}: give its standard deviation in 8-bit steps, 0 (none) to 255")
    return steps / HALF_RANGE


def _quantisation(coefficients: Any) -> float:
    """The noise level of a JPEG's rounding; 0: the picture is not a JPEG, or in other colours."""
    if coefficients is None or len(coefficients.planes) not in (1, 3):
        return 0.0
    return quantisation_level(coefficients.planes, coefficients.tables, getattr(coefficients, "colour", "YCbCr"))
