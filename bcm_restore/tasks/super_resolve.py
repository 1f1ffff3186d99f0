"""Super-resolution: a larger picture that gives the small one back when it is scaled down again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import RestoreError
from ..large import BandImage, BandProblem, MemoryImage
from ..model import BCM, Label, Noise
from ..operators import Chain, Noisy, Operator, Points, Resize
from ..operators.local_range import clamp_to_surroundings
from ..operators.points import downscaling_kernel
from ..operators.resize import REACH
from ..schemes import Progress, Scheme
from ..spans import widened
from .arguments import whole
from .arrays import ArrayImage
from .band_task import BandTask
from .base import AnyBands, Problem
from .jpeg import Jpeg
from .small import Flaw, flaw

SCALES = (2, 3, 4, 8)
SAMPLE = 1 << 22  # pixels of a large picture in which flaws are sought
UNFILTERED = {"nearest": "downscaled without a filter (nearest)", "box": "downscaled by means of blocks (box)"}


class Enlargement(Resize):
    """Scaling down whose `fit` keeps flat areas flat: x goes no further than the small pixels around allow."""

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """`Resize.fit`, after clamping x to its surroundings in y."""
        return super().fit(clamp_to_surroundings(x, y, y, self.image_size[0] // self.size[0]), y)


class SuperResolve(BandTask):
    """The operator is antialiased scaling down, as Pillow does it; the first estimate is exact under it.

    What else is wrong with the small picture comes after that, in a chain: quantisation if it is a JPEG, noise if there
    is any. `run` restores the small picture first, and enlarges what it then is.
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
        """The problem of enlarging a picture.

        Args:
            image: the small picture.
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
        if any(found.flaws):
            return _Flawed(image, scale, found, coefficients)
        return _Enlarging(image, scale, found)

    def is_large(self, size: tuple[int, int], *, scale: int = 4, kernel: str | None = None, **inputs: Any) -> bool:
        """See `BandTask.is_large`."""
        scale = whole("scale", scale)
        return kernel != "nearest" and super().is_large((size[0] * scale, size[1] * scale))

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
            points.mean(x) if (points := _points(problem.operator)) else x
            for x, problem in zip(solved, problems, strict=True)
        ]

    def restored_before(
        self, image: AnyBands, inputs: Mapping[str, Any], model: BCM, label: Label | None
    ) -> tuple[AnyBands, Mapping[str, Any], str]:
        """The small picture without its flaws."""
        found = _find(image, *(inputs.get(name) for name in ("kernel", "noise", "coefficients")))
        if any(found.flaws):
            image = _without(found.flaws, image, model, label)
        return image, {**inputs, "kernel": found.kernel, "noise": 0, "coefficients": None}, found.remark


def _without(flaws: Sequence[Flaw | None], image: Any, model: BCM, label: Label | None) -> Any:
    """Small pictures without their flaws."""
    if isinstance(image, ArrayImage):
        return ArrayImage(flaws[0].restored(image.array, model, label)) if flaws[0] else image
    small = [
        own.restored((one + 1) / 2, model, label) * 2 - 1 if own else one
        for one, own in zip(image.pixels.split(1), flaws, strict=True)
    ]
    return MemoryImage(torch.cat(small))


class _Enlarging(BandProblem):
    """Enlarging a small picture with no flaw."""

    def __init__(self, image: BandImage, scale: int, found: "_Found") -> None:
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
        """Rows of the small picture, as often as it is restored."""
        y = self.image.read(slice(rows.start // self._scale, rows.stop // self._scale))
        return y.repeat(_copies(self._whole), 1, 1, 1) if _copies(self._whole) > 1 else y


class _Flawed(_Enlarging):
    """The same of pictures in memory with flaws, which come after scaling down: noise, or a JPEG's quantisation."""

    def __init__(self, image: BandImage, scale: int, found: "_Found", coefficients: Any) -> None:
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


class _Found(NamedTuple):
    """What was found out about small pictures."""

    kernel: str
    flaws: list[Flaw | None]  # one a picture
    remark: str


def _find(image: BandImage, kernel: str | None, noise: float | None, coefficients: Any) -> _Found:
    """See `SuperResolve.pose`."""
    small = image.read(image.middle(SAMPLE))
    flaws = [flaw(one, noise, coefficients) for one in small.split(1)]
    remarks = list(dict.fromkeys(one.remark for one in flaws if one))
    if kernel is None:
        one = flaws[0] if len(flaws) == 1 else None
        kernel = downscaling_kernel(small, one.noise.sigma if one else 0.0)
        remarks += [UNFILTERED[kernel]] if kernel in UNFILTERED else []
        if kernel == "nearest" and not image.in_memory:
            kernel, remarks[-1] = "bicubic", f"{remarks[-1]}, but too large to be restored so"
    return _Found(kernel, flaws, "; ".join(remarks))


def _points(operator: Operator) -> Points | None:
    """The operator of pictures that are restored twice, on its own or in a chain."""
    first = operator.first if isinstance(operator, Chain) else operator
    return first if isinstance(first, Points) else None


def _copies(operator: Operator) -> int:
    """How many times each picture is restored."""
    return 2 if _points(operator) else 1


def _operator(size: Sequence[int], scale: int, kernel: str) -> Any:
    if scale not in SCALES:
        raise RestoreError(f"scale {scale} has no schemes; use {', '.join(map(str, SCALES))}")
    large = size[0] * scale, size[1] * scale
    return Points(large, scale) if kernel == "nearest" else Enlargement(large, scale=scale, filter=kernel)
