"""Super-resolution: a larger picture that gives the small one back when it is scaled down again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import rasters
from ..errors import RestoreError
from ..giants import Giant
from ..model import BCM, Label, Noise
from ..operators import Chain, Noisy, Operator, Points, Resize
from ..operators.local_range import clamp_to_surroundings
from ..operators.points import looks_sampled
from ..operators.resize import REACH
from ..rasters import Raster, bands, middle, widened
from ..schemes import Progress, Scheme
from .arguments import whole
from .arrays import to_tensor
from .base import Problem, Task
from .jpeg import Jpeg
from .small import Flaw, flaw

SCALES = (2, 3, 4, 8)
SAMPLE = 1 << 22  # pixels of a large picture in which flaws are sought
SAMPLED = "sampled without a filter (nearest)"


class Enlargement(Resize):
    """Scaling down whose `fit` keeps flat areas flat: x goes no further than the small pixels around allow."""

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """`Resize.fit`, after clamping x to its surroundings in y."""
        return super().fit(clamp_to_surroundings(x, y, y, self.image_size[0] // self.size[0]), y)


class SuperResolve(Task):
    """The operator is antialiased scaling down, as Pillow does it; the first estimate is exact under it.

    What else is wrong with the small picture comes after that, in a chain: quantisation if it is a JPEG, noise if there
    is any. `run` restores the small picture first, and enlarges what it then is.
    """

    name = "super-resolve"
    summary = "enlarges a picture 2, 3, 4 or 8 times"

    def problem(
        self,
        image: Tensor,
        *,
        scale: int = 4,
        kernel: str | None = None,
        noise: float | None = None,
        coefficients: Any = None,
        **inputs: Any,
    ) -> Problem:
        """The problem of enlarging a picture.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            scale: how many times: 2, 3, 4 or 8.
            kernel: what made it small: a filter of `bcm_restore.operators.Resize`, "box" for the means of pixels, or
                "nearest" for one of so many pixels. None: "nearest" if it looks like that, else "bicubic".
            noise: standard deviation of the small picture's noise, in 8-bit steps; None: estimated.
            coefficients: if the small picture is a JPEG, its own, from `bcm_restore.images.jpeg_coefficients`; the
                picture is the decoded one, as stored in the file (orientation not applied).

        Raises:
            RestoreError: the scale, the kernel or the noise is another one.
        """
        scale = whole("scale", scale)
        found = _find(image, kernel, noise, coefficients)
        plain = _plain(image, scale, found)
        if not any(found.flaws):
            return plain
        operator, y = plain.operator, plain.y
        sigmas = torch.tensor([one.sigma if one else 0.0 for one in found.flaws])
        second: Operator = Noisy(sigmas.repeat(_copies(operator)))
        if not sigmas.any():  # a JPEG
            inner = Jpeg().problem(image, coefficients=coefficients)
            second, y = inner.operator, inner.y
        chain = Chain(operator, second)
        return Problem(chain, y, chain.fit(operator.upscale(plain.y), y), case=plain.case, remark=plain.remark)  # type: ignore[attr-defined]

    def giant(
        self,
        image: np.ndarray,
        *,
        scale: int = 4,
        kernel: str | None = None,
        noise: float | None = None,
        coefficients: Any = None,
        **inputs: Any,
    ) -> Giant | None:
        """See `Task.giant` and `problem`. What else is wrong with the small picture is not in the operator."""
        scale = whole("scale", scale)
        if image.shape[0] * image.shape[1] * scale**2 <= rasters.LARGE or kernel == "nearest":
            return None
        found = _find(
            to_tensor(image[middle((image.shape[0], image.shape[1]), SAMPLE)])[0], kernel, noise, coefficients
        )
        sampled = found.kernel == "nearest"
        giant = _Giant(image, scale, _operator(image.shape, scale, "bicubic" if sampled else found.kernel))
        giant.flaw, giant.remark = found.flaws[0], found.remark + ", but too large to be taken so" * sampled
        return giant

    def solve(
        self,
        problems: Sequence[Problem],
        scheme: Scheme,
        model: BCM,
        noises: Sequence[Noise],
        progress: Progress | None = None,
    ) -> list[Tensor]:
        """See `Task.solve`. Of pictures restored twice, the mean."""
        solved = super().solve(problems, scheme, model, noises, progress)
        return [
            torch.stack(x.chunk(_copies(problem.operator))).mean(0) if _copies(problem.operator) > 1 else x
            for x, problem in zip(solved, problems, strict=True)
        ]

    def restored_before(
        self, x: Tensor, inputs: Mapping[str, Any], model: BCM, label: Label | None
    ) -> tuple[Tensor, Mapping[str, Any], str]:
        """The small picture without its flaws."""
        found = _find(x, *(inputs.get(name) for name in ("kernel", "noise", "coefficients")))
        if any(found.flaws):
            small = [
                own.restored((one + 1) / 2, model, label) * 2 - 1 if own else one
                for one, own in zip(x.split(1), found.flaws, strict=True)
            ]
            x = torch.cat(small)
        return x, {**inputs, "kernel": found.kernel, "noise": 0, "coefficients": None}, found.remark

    def _giant(self, image: Any, inputs: Mapping[str, Any], model: BCM) -> Giant | None:
        """That of the small picture as it is without its flaw."""
        giant = super()._giant(image, inputs, model)
        if isinstance(giant, _Giant):
            giant.restore_small(model)
        return giant


class _Giant(Giant):
    """Enlarging (h, w[, 3]) pixels."""

    flaw: Flaw | None = None

    def __init__(self, image: np.ndarray, scale: int, operator: Resize) -> None:
        super().__init__(operator.image_size, case=f"x{scale}")
        self._image, self._scale, self._operator = image, scale, operator
        self.unit, self.reach = scale, REACH * scale

    def restore_small(self, model: BCM) -> None:
        """Takes its flaw out of the small picture."""
        if self.flaw:
            self._image, self.flaw = self.flaw.restored(self._image, model), None

    def begin(self, x: Raster) -> None:
        for rows in bands(self.size, self.unit):
            outer, inner = widened(rows, self.reach, self.size[0])
            operator = self.operator(outer)
            x.write(_estimate(operator, self.measured(outer, operator).to(x.device))[:, :, inner], rows)

    def operator(self, rows: slice) -> Resize:
        return self._operator.crop(rows)

    def measured(self, rows: slice, operator: Operator) -> Tensor:
        return to_tensor(self._image[rows.start // self._scale : rows.stop // self._scale])[0]


class _Found(NamedTuple):
    """What was found out about small pictures."""

    kernel: str
    flaws: list[Flaw | None]  # one a picture
    remark: str


def _find(image: Tensor, kernel: str | None, noise: float | None, coefficients: Any) -> _Found:
    """See `SuperResolve.problem`."""
    flaws = [flaw(one, noise, coefficients) for one in image.split(1)]
    remarks = list(dict.fromkeys(one.remark for one in flaws if one))
    if kernel is None:
        sampled = len(flaws) == 1 and looks_sampled(image, flaws[0].sigma if flaws[0] else 0.0)
        kernel = "nearest" if sampled else "bicubic"
        remarks += [SAMPLED] * sampled
    return _Found(kernel, flaws, "; ".join(remarks))


def _plain(image: Tensor, scale: int, found: _Found) -> Problem:
    """The problem of small pictures with no flaw."""
    operator = _operator(image.shape[2:], scale, found.kernel)
    y = image.repeat(_copies(operator), 1, 1, 1) if _copies(operator) > 1 else image
    return Problem(operator, y, _estimate(operator, y), case=f"x{scale}", remark=found.remark)


def _copies(operator: Operator) -> int:
    """How many times each picture is restored."""
    first = operator.first if isinstance(operator, Chain) else operator
    return 2 if isinstance(first, Points) else 1


def _operator(size: Sequence[int], scale: int, kernel: str) -> Any:
    if scale not in SCALES:
        raise RestoreError(f"scale {scale} has no schemes; use {', '.join(map(str, SCALES))}")
    large = size[0] * scale, size[1] * scale
    return Points(large, scale) if kernel == "nearest" else Enlargement(large, scale=scale, filter=kernel)


def _estimate(operator: Any, y: Tensor) -> Tensor:
    return operator.fit(operator.upscale(y), y)
