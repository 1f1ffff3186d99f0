"""Super-resolution: a larger picture that gives the small one back when it is scaled down again."""

from typing import Any

from torch import Tensor

from ..errors import RestoreError
from ..operators import Resize
from .base import Problem, Task

SCALES = (2, 3, 4, 8)


class SuperResolve(Task):
    """The operator is antialiased scaling down, as Pillow does it; the first estimate is exact under it."""

    name = "super-resolve"
    summary = "enlarges a picture 2, 3, 4 or 8 times"

    def problem(self, image: Tensor, *, scale: int = 4, kernel: str = "bicubic", **inputs: Any) -> Problem:
        """The problem of enlarging a picture.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            scale: how many times: 2, 3, 4 or 8.
            kernel: what made it small: a filter of `bcm_restore.operators.Resize`, "box" for the means of pixels.

        Raises:
            RestoreError: the scale or the kernel is another one.
        """
        if scale not in SCALES:
            raise RestoreError(f"scale {scale} has no schemes; use {', '.join(map(str, SCALES))}")
        height, width = image.shape[2:]
        operator = Resize((height * scale, width * scale), scale=scale, filter=kernel)
        estimate = operator.fit(operator.upscale(image), image)
        return Problem(operator, image, estimate, case=f"x{scale}")
