"""Super-resolution: a larger picture that is consistent with the small one when downscaled."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import RestoreError
from ..large import BandImage, BandProblem, MemoryImage
from ..model import BCM, Label
from ..operators import Chain, Noisy, Operator, Points, Resize
from ..operators.local_range import clamp_to_surroundings
from ..operators.points import downscaling_kernel
from ..operators.resize import REACH
from ..spans import widened
from .arguments import whole
from .arrays import AnyImage, ArrayImage
from .band_task import BandTask
from .base import AnyBands, Problem
from .jpeg import Jpeg
from .pil import with_coefficients
from .small import Flaw, find_flaw

SCALES = (2, 3, 4, 8)
SAMPLE = 1 << 22  # pixels of a large picture that are searched for flaws
UNFILTERED = {"nearest": "downscaled without a filter (nearest)", "box": "downscaled with a weak filter (box)"}


class Enlargement(Resize):
    """Downscaling whose `fit` keeps flat areas flat: it clamps x to the range of the small pixels around."""

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """`Resize.fit`, after clamping x to its surroundings in y."""
        return super().fit(clamp_to_surroundings(x, y, y, self.image_size[0] // self.size[0]), y)


class SuperResolve(BandTask):
    """The operator is antialiased downscaling, as Pillow does it; the first estimate is consistent with it.

    Further degradations of the small picture follow in a chain: quantisation if it is a JPEG, or noise. `run` first
    restores the small picture, and enlarges the result.
    """

    name = "super-resolve"
    summary = "enlarges a picture 2, 3, 4 or 8 times"

    def pose(
        self,
        image: BandImage,
        *,
        scale: int = 4,
        kernel: str | None = None,
        noise: float | None = None,
        coefficients: Any = None,
        **inputs: Any,
    ) -> BandProblem:
        """Poses the problem of enlarging a picture.

        Args:
            image: the small picture.
            scale: the factor: 2, 3, 4 or 8.
            kernel: how the picture was downscaled: a filter of `bcm_restore.operators.Resize`, "box" for averaged
                blocks, or "nearest" for no filter. None: estimated, "bicubic" in case of doubt.
            noise: standard deviation of the small picture's noise, in 8-bit steps; None: estimated.
            coefficients: of the small picture, if it is a JPEG, from `bcm_restore.images.jpeg_coefficients`; the
                picture is the decoded one, as stored in the file (orientation not applied).

        Raises:
            RestoreError: the scale, the kernel or the noise is not supported.
        """
        scale = whole("scale", scale)
        found = _analyse(image, kernel, noise, coefficients)
        if any(found.flaws):
            return _Flawed(image, scale, found, coefficients)
        return _Enlarging(image, scale, found)

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """See `Task.prepare`; also reads the coefficients of a PIL image's file."""
        return super().prepare(image, with_coefficients(image, inputs))

    def is_large(self, size: tuple[int, int], *, scale: int = 4, kernel: str | None = None, **inputs: Any) -> bool:
        """See `BandTask.is_large`."""
        scale = whole("scale", scale)
        return kernel != "nearest" and super().is_large((size[0] * scale, size[1] * scale))

    def united(self, x: Tensor, problem: Problem) -> Tensor:
        """See `Task.united`. Pictures that are restored twice are averaged."""
        return points.mean(x) if (points := _points(problem.operator)) else x

    def preprocess(
        self, image: AnyBands, inputs: Mapping[str, Any], model: BCM, label: Label | None
    ) -> tuple[AnyBands, Mapping[str, Any], str]:
        """See `Task.preprocess`: removes the flaws of the small picture."""
        found = _analyse(image, *(inputs.get(name) for name in ("kernel", "noise", "coefficients")))
        if any(found.flaws):
            image = _without(found.flaws, image, model, label)
        return image, {**inputs, "kernel": found.kernel, "noise": 0, "coefficients": None}, found.remark


def _without(flaws: Sequence[Flaw | None], image: Any, model: BCM, label: Label | None) -> Any:
    """Removes the flaws of small pictures."""
    if isinstance(image, ArrayImage):
        return ArrayImage(flaws[0].restored(image.array, model, label)) if flaws[0] else image
    small = [
        own.restored((one + 1) / 2, model, label) * 2 - 1 if own else one
        for one, own in zip(image.pixels.split(1), flaws, strict=True)
    ]
    return MemoryImage(torch.cat(small))


class _Enlarging(BandProblem):
    """Enlarging a small picture without flaws."""

    def __init__(self, image: BandImage, scale: int, found: "_Analysis") -> None:
        super().__init__(image, case=f"x{scale}", remark=found.remark)
        self._scale, self._whole = scale, _operator(image.size, scale, found.kernel)
        self.size, self.unit, self.reach = self._whole.image_size, scale, REACH * scale

    def operator(self, rows: slice) -> Operator:
        return self._part(rows)

    def measured(self, rows: slice, operator: Operator) -> Tensor:
        return self._small(rows)

    def estimate(self, rows: slice) -> Tensor:
        outer, inner = widened(rows, self.reach, self.size[0])
        operator, y = self._part(outer), self._small(outer)
        return operator.fit(operator.upscale(y), y)[:, :, inner]

    def _part(self, rows: slice) -> Any:
        return self._whole if rows == slice(0, self.size[0]) else self._whole.crop(rows)

    def _small(self, rows: slice) -> Tensor:
        """Rows of the small picture, repeated if it is restored twice."""
        y = self.image.read(slice(rows.start // self._scale, rows.stop // self._scale))
        return y.repeat(_copies(self._whole), 1, 1, 1) if _copies(self._whole) > 1 else y


class _Flawed(_Enlarging):
    """Enlarging pictures in memory that were degraded after downscaling, by noise or JPEG quantisation."""

    def __init__(self, image: BandImage, scale: int, found: "_Analysis", coefficients: Any) -> None:
        super().__init__(image, scale, found)
        sigmas = torch.tensor([one.noise.sigma if one else 0.0 for one in found.flaws])
        second: Operator = Noisy(sigmas.repeat(_copies(self._whole)))
        self._y: Any = self._small(slice(0, self.size[0]))
        if len(sigmas) == 1 and not sigmas.any():  # a JPEG
            inner = Jpeg().problem(image.read(slice(0, image.size[0])), coefficients=coefficients)
            second, self._y = inner.operator, inner.y
        self._chain = Chain(self._whole, second)

    def operator(self, rows: slice) -> Operator:
        return self._chain

    def measured(self, rows: slice, operator: Operator) -> Any:
        return self._y

    def estimate(self, rows: slice) -> Tensor:
        return self._chain.fit(self._whole.upscale(self._small(rows)), self._y)


class _Analysis(NamedTuple):
    """How small pictures were made."""

    kernel: str
    flaws: list[Flaw | None]  # one per picture
    remark: str


def _analyse(image: BandImage, kernel: str | None, noise: float | None, coefficients: Any) -> _Analysis:
    """Detects the kernel and the flaws of small pictures; see `SuperResolve.pose`."""
    small = image.read(image.middle(SAMPLE))
    flaws = [find_flaw(one, noise, coefficients) for one in small.split(1)]
    remarks = list(dict.fromkeys(one.remark for one in flaws if one))
    if kernel is None:
        one = flaws[0] if len(flaws) == 1 else None
        kernel = downscaling_kernel(small, one.noise.sigma if one else 0.0)
        remarks += [UNFILTERED[kernel]] if kernel in UNFILTERED else []
        if kernel == "nearest" and not image.in_memory:
            kernel, remarks[-1] = "bicubic", f"{remarks[-1]}, but too large for this kernel"
    return _Analysis(kernel, flaws, "; ".join(remarks))


def _points(operator: Operator) -> Points | None:
    """The `Points` operator, alone or first in a chain; its pictures are restored twice."""
    first = operator.first if isinstance(operator, Chain) else operator
    return first if isinstance(first, Points) else None


def _copies(operator: Operator) -> int:
    """How many times each picture is restored."""
    return 2 if _points(operator) else 1


def check_scale(scale: int) -> None:
    """Refuses a scale that is not supported."""
    if scale not in SCALES:
        raise RestoreError(f"scale {scale!r} is not supported; use {', '.join(map(str, SCALES))}")


def _operator(size: Sequence[int], scale: int, kernel: str) -> Any:
    check_scale(scale)
    large = size[0] * scale, size[1] * scale
    return Points(large, scale) if kernel == "nearest" else Enlargement(large, scale=scale, filter=kernel)
