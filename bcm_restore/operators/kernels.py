"""Blur kernels: Gaussian, disk and motion, as (h, w) tensors of odd sides that sum to 1.

Gaussians are kornia's. It has no disk, and its motions only have odd lengths in whole pixels; with its default
interpolation they are up to a tenth too long or too short between multiples of 45 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import RestoreError

FINE = 8  # samples per pixel along each axis
TAIL = 3.0  # a Gaussian is cut at this many standard deviations

Density = Callable[[Tensor, Tensor], Tensor]  # of rows and columns, in pixels from the centre


def gaussian(sigma: float) -> Tensor:
    """exp(-r^2 / 2 sigma^2) at the centres of the pixels, as kornia, OpenCV and SciPy sample it, cut at 3 sigma."""
    radius = _radius(TAIL * sigma)
    line = (-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2)).exp()
    return normalised(line[:, None] * line)


def motion(length: float, angle: float = 0.0) -> Tensor:
    """A straight line of a pixel's width; the angle in degrees, counter-clockwise from the right."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def line(row: Tensor, column: Tensor) -> Tensor:
        along, across = column * cos - row * sin, column * sin + row * cos
        return ((along.abs() <= length / 2) & (across.abs() <= 0.5)).float()

    return _sampled(line, length / 2 + 0.5)


def disk(radius: float) -> Tensor:
    """A filled circle: a lens out of focus."""
    return _sampled(lambda row, column: (row**2 + column**2 <= radius**2).float(), radius)


def normalised(kernel: Tensor) -> Tensor:
    """A kernel (h, w), padded to odd sides, that sums to 1."""
    height, width = kernel.shape
    padded = torch.nn.functional.pad(kernel.float(), (0, 1 - width % 2, 0, 1 - height % 2))
    return padded / padded.sum()


def _sampled(density: Density, reach: float) -> Tensor:
    """The mean density of each pixel."""
    side = 2 * _radius(reach) + 1
    fine = (torch.arange(side * FINE) + 0.5) / FINE - side / 2
    values = density(fine[:, None], fine[None, :])
    return normalised(values.unflatten(0, (side, FINE)).unflatten(2, (side, FINE)).mean((1, 3)))


def _radius(reach: float) -> int:
    """The pixels on each side of the centre that a density of that reach touches."""
    return max(math.ceil(reach - 0.5), 0)


SHAPES: dict[str, tuple[Callable[..., Tensor], str, float, float]] = {
    "gaussian": (gaussian, "gaussian:SIGMA", 0.1, 20.0),
    "disk": (disk, "disk:RADIUS", 0.5, 50.0),
    "motion": (motion, "motion:LENGTH:ANGLE", 1.0, 100.0),
}
"""Maker, text form, and the bounds of the size in pixels."""


def is_named(text: str) -> bool:
    """Whether a text names a kernel rather than a file: "gaussian:2"."""
    return text.partition(":")[0] in SHAPES


def named(text: str) -> Tensor:
    """The kernel of a text: "gaussian:2", "disk:4", "motion:15" (horizontal) or "motion:15:30".

        >>> named("disk:1").shape
        torch.Size([3, 3])

    Raises:
        RestoreError: it is not a kernel, or too small or large; says how to write it.
    """
    shape, *words = text.split(":")
    if shape not in SHAPES:
        raise RestoreError(f"kernel '{text}' is not known; give {', '.join(one[1] for one in SHAPES.values())}")
    make, form, least, most = SHAPES[shape]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= form.count(":") or not all(map(math.isfinite, numbers)):
        raise RestoreError(f"kernel '{text}': write {form}, with numbers")
    if not least <= numbers[0] <= most:
        raise RestoreError(f"kernel '{text}': the size is {least:g} to {most:g} pixels")
    return make(*numbers)
