"""The operator of JPEG restoration: JPEG compression."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import RestoreError
from ..spans import steps
from .base import Operator, check_image
from .dct import (
    COLOURS,
    HALF_RANGE,
    averaged,
    from_blocks,
    from_components,
    inverse_transform,
    luma,
    standard_tables,
    to_blocks,
    to_components,
    to_ycc,
    transform,
)
from .interval import expected_in_interval
from .jpeg_history import chroma, find_sampling
from .local_range import clamp_to_surroundings

# A coefficient is rounded to k if it is within k -+ 1/2 steps; `fit` stays this close to k, so that rounding the pixels
# to float32 afterwards cannot change k.
SLACK = 0.499
STRIP = 32  # image rows at a time: fits the processor's cache and limits memory
VARIES = 3.0  # the largest error of a block, as a multiple of the RMS of its coefficients
ROUNDS = 4  # iterations of the correction at the right and lower edges: further ones change less than 0.2 8-bit steps

Noise = float | Tensor  # standard deviation of coefficients: one for all frequencies, or (8, 8)
Measurement = Sequence[Tensor]  # quantised coefficients (B or 1, m, n, 8, 8) of Y, Cb, Cr or of Y alone


class Coefficients(NamedTuple):
    """The coefficients of a JPEG file; all but the size and colour are one each for Y, Cb and Cr, or for Y alone."""

    size: tuple[int, int]  # (H, W) of the image
    planes: Sequence[
        Any
    ]  # quantised coefficients, (blocks down, across, 8, 8) integers [row frequency, column frequency]
    tables: Sequence[Any]  # quantisation steps, (8, 8)
    sampling: Sequence[tuple[int, int]]  # factors (vertical, horizontal): ((2, 2), (1, 1), (1, 1)) is 4:2:0
    colour: str = "YCbCr"  # of three planes: YCbCr, RGB, or YCCK for the first three of a YCCK file


class Component(NamedTuple):
    """The quantisation table and the block grid of Y, Cb or Cr."""

    table: Tensor  # (8, 8)
    factor: tuple[int, int]  # image rows and columns per sample
    size: tuple[int, int]  # samples down and across inside the image
    blocks: tuple[int, int]  # ceil(size / 8)


class Jpeg(Operator):
    """A x = round(T x / q): JPEG's colour space, chroma averaging, cosine transform T and quantisation by q.

    Args:
        coefficients: of a file: any object with the fields of `Coefficients`. Blocks that only pad it are dropped.
        grey: the picture has no colour. The default is True if there is no chroma; with `grey=False` and luma alone,
            chroma is unknown and `fit` does not change it.

    y is a tuple of quantised coefficients, (B or 1, blocks down, across, 8, 8) int16, for Y, Cb, Cr (or R, G, B if the
    file is RGB) or Y alone. `operator.y` holds the file's own.

    `fit(x, y)` projects every coefficient of x onto the interval that is rounded to y. With T^+ the inverse transform
    (T T^+ = I, because averaging undoes repetition):

        fit(x, y) = x + T^+ (clamp(T x, (y - 1/2) q, (y + 1/2) q) - T x)

    so the result compresses to exactly y, and pixels that already agree with y are unchanged, bit for bit.

    If the size is not a multiple of the block size, pixels outside the image matter too. A repeats the border pixels,
    as libjpeg does. Other encoders pad differently, so `fit` uses the padding in the file. In these blocks it is exact
    only in the limit (`_correct_edges`), and A(fit(x, y)) equals y up to the padding.

    `surroundings`, None by default, may be set to the least and greatest values of the decoded picture's 8x8 `cells`:
    then `fit` first clamps x to them (`clamp_to_surroundings`), so that flat areas stay flat.

    `fit_denoised(x, y, error)`, for a posterior mean x with errors of that standard deviation, replaces each
    coefficient by its expectation within the interval (`expected_in_interval`) instead. The result compresses to
    exactly y as well, and is closer to the clean image: a projection leaves what is outside at the interval's edge,
    where the coefficient hardly ever is.

        >>> operator = Jpeg.from_pixels(torch.zeros(1, 3, 16, 16), quality=50)
        >>> x = torch.rand(1, 3, 16, 16) * 2 - 1
        >>> all(map(torch.equal, operator.A(operator.fit(x, operator.y)), operator.y))
        True

    Raises RestoreError for coefficients of other than one or three components, and for images of another size.
    """

    def __init__(self, coefficients: Coefficients | Any, grey: bool | None = None) -> None:
        planes, tables, sampling = coefficients.planes, coefficients.tables, coefficients.sampling
        if len(planes) not in (1, 3) or not len(planes) == len(tables) == len(sampling):
            raise RestoreError(f"JPEG with {len(planes)} components: convert it to grey or RGB first")
        self.size = int(coefficients.size[0]), int(coefficients.size[1])
        self.colour: str = getattr(coefficients, "colour", "YCbCr")
        self.grey = len(planes) == 1 if grey is None else grey
        self.components = [
            _component(self.size, table, own, sampling) for table, own in zip(tables, sampling, strict=True)
        ]
        self.y = tuple(_checked(plane, c) for plane, c in zip(planes, self.components, strict=True))
        self.surroundings: tuple[Tensor, Tensor] | None = None

    @classmethod
    def from_pixels(cls, x: Tensor, quality: int, sampling: tuple[int, int] | None = None) -> Jpeg:
        """The operator of the JPEG that the pixels x were decoded from: its coefficients are those of x, rounded.

        Args:
            x: (1, 3, H, W), as decoded by libjpeg; if R = G = B everywhere, the JPEG is assumed to be grey.
            quality: of libjpeg's standard tables, from `estimate_quality`.
            sampling: of luma (vertical, horizontal), (2, 2) for 4:2:0; None: estimated, and if the estimate is unclear
                only luma is constrained.
        """
        grey = bool((x == x[:, :1]).all())
        factor = sampling or (None if grey else find_sampling(x, quality))
        tables = standard_tables(quality)[: 2 if factor else 1]
        return cls(coefficients_of(x, tables, factor or (1, 1)), grey)

    def A(self, x: Tensor) -> tuple[Tensor, ...]:
        """The encoder: the quantised coefficients of x."""
        check_image(x, self.size)
        y = [x.new_empty(len(x), 8 * c.blocks[0], 8 * c.blocks[1], dtype=torch.int16) for c in self.components]
        for rows in self._strips():
            for c, k, plane in zip(self.components, y, self._analyse(x[:, :, rows]), strict=True):
                steps = transform(plane).div_(_steps(c, plane)).round_().clamp_(-(2**15), 2**15 - 1)
                k[:, _samples(c, rows)] = steps
        return tuple(to_blocks(k) for k in y)

    def pinv(self, y: Measurement) -> Tensor:
        """The decoder: the middle of every interval, converted to RGB, chroma repeated; grey if there is only luma.

        The result is not clamped to [-1, 1], so A(pinv(y)) = y. It has blocky chroma, unlike that of decoders that
        interpolate it.
        """
        self._check(y, len(y[0]))
        x = torch.empty(len(y[0]), 3, *self.size, device=y[0].device)
        for rows in self._strips():
            planes = []
            for c, blocks in zip(self.components, y, strict=True):
                k = _cut(blocks, c, rows)
                planes.append(inverse_transform(k * _steps(c, k)))
            for plane in planes if self.colour == "RGB" else planes[:1]:
                plane += 0.5  # the encoder subtracts 128 from 0..255, the middle is 127.5
            x[:, :, rows] = self._synthesise(planes, rows)
        return x

    def fit(self, x: Tensor, y: Measurement) -> Tensor:
        """x + T^+ (clamp(T x, (y - 1/2) q, (y + 1/2) q) - T x)."""
        return self.fit_denoised(x, y, 0.0)

    def fit_denoised(self, x: Tensor, y: Measurement, error: float) -> Tensor:
        """`fit` with expectations instead of projections, for a posterior mean x.

        The error of a block is taken to be at most three times what varies in it (`_activity`): a larger one would
        bring back the blocks' borders in smooth areas.

        Args:
            x: (B, 3, H, W) in [-1, 1].
            y: as in `fit`.
            error: standard deviation of the errors of x, images in [-1, 1]; 0: `fit`.
        """
        check_image(x, self.size)
        self._check(y, len(x))
        fitted = x.clone() if self.surroundings is None else clamp_to_surroundings(x, *self.surroundings, cell=8)
        for rows in self._strips():
            strip = fitted[:, :, rows]
            planes = self._analyse(strip)
            if self.grey:
                strip[:] = luma(strip)
            corrections = []
            for c, plane, blocks in zip(self.components, planes, y, strict=True):
                k = _cut(blocks, c, rows).to(plane.device)
                corrections.append(_correction(c, plane, k, error))
                _correct_edges(corrections[-1], c, plane, k, rows, error)
            strip += self._synthesise(corrections, rows)
        return fitted

    def level(self) -> float:
        """Estimates the noise level of the decoded picture: the expected RMS error of RGB, images in [-1, 1].

        It uses the file's own coefficients and is accurate to about a quarter. The errors of chroma averaging and of
        rounding pixels to 8 bits are not included; they matter at qualities above 90. See `quantisation_error`.
        """
        return quantisation_level([k[0] for k in self.y], [c.table for c in self.components], self.colour)

    def _check(self, y: Measurement, batch: int) -> None:
        """Raises RestoreError unless y has the shapes of this file's coefficients, for one image or for the batch."""
        shapes = [tuple(k.shape) for k in y]
        if shapes not in ([(n, *k.shape[1:]) for k in self.y] for n in (1, batch)):
            raise RestoreError(f"coefficients {shapes} are not of this JPEG and {batch} images: pass operator.y")

    def _strips(self) -> Iterator[slice]:
        """Splits the image rows into strips of whole blocks of every component."""
        height = strip_height(max(c.factor[0] for c in self.components))
        return steps(self.size[0], height)

    def _analyse(self, strip: Tensor) -> list[Tensor]:
        """The planes of whole blocks that the encoder transforms, (B, 8m, 8n) each, in 8-bit steps, centred."""
        strip = strip.float()
        *_, height, width = strip.shape
        down = max(c.factor[0] for c in self.components)
        right = max(8 * c.blocks[1] * c.factor[1] for c in self.components) - width
        if right or height % down:
            strip = pad(strip, (0, right, 0, -height % down), mode="replicate")
        components = to_components(strip, self.colour, len(self.components))
        planes = []
        for c, plane in zip(self.components, components.unbind(1), strict=True):
            plane = averaged(plane, c.factor)[:, :, : 8 * c.blocks[1]]
            planes.append(pad(plane, (0, 0, 0, -plane.shape[1] % 8), mode="replicate"))
        return planes

    def _synthesise(self, planes: Sequence[Tensor], rows: slice) -> Tensor:
        """Converts the planes to RGB, without the offset of luma: T^+."""
        height, width = rows.stop - rows.start, self.size[1]
        ycc = planes[0].new_empty(len(planes[0]), len(planes), height, width)
        for i, (c, plane) in enumerate(zip(self.components, planes, strict=True)):
            for row, column in product(*map(range, c.factor)):
                place = ycc[:, i, row :: c.factor[0], column :: c.factor[1]]
                place[:] = plane[:, : place.shape[1], : place.shape[2]]
        return from_components(ycc, self.colour)


def strip_height(down: int) -> int:
    """The image rows in a strip of whole blocks of all components, the coarsest with `down` rows per sample."""
    return 8 * down * -(-STRIP // (8 * down))


def coefficients_of(
    x: Tensor, tables: Sequence[Tensor], factor: tuple[int, int], noise: Sequence[Noise] | None = None, times: int = 1
) -> Coefficients:
    """Recovers the coefficients that pixels x (1, 3, H, W), with blocks from their corner, had in a JPEG.

    Args:
        x: the pixels.
        tables: (8, 8), of luma, or of luma and chroma.
        factor: image rows and columns per chroma sample.
        noise: standard deviation of the noise in the coefficients of luma and chroma, (8, 8) or one for all
            frequencies. Steps finer than 4 standard deviations are lost: there the coefficient is known only to within
            that. None: small.
        times: how often chroma has been upsampled since.
    """
    samples = [to_ycc(x, 1)[0], *(chroma(x, factor, times).split(1) if len(tables) > 1 else [])]
    planes, steps = [], []
    for i, plane in enumerate(samples):
        plane = pad(plane[None], (0, -plane.shape[2] % 8, 0, -plane.shape[1] % 8), mode="replicate")[0]
        table = tables[min(i, 1)].to(x.device)
        k = to_blocks(transform(plane))[0]
        if noise is None:
            k = (k / table).round().short()
        else:
            spread = 4 * torch.as_tensor(noise[min(i, 1)], device=x.device).expand(8, 8)
            certain = table >= spread
            table = torch.where(certain, table, table + spread)
            k = torch.where(certain, (k / table).round(), k / table)
        planes.append(k)
        steps.append(table)
    factors = [factor, (1, 1), (1, 1)] if len(planes) > 1 else [(1, 1)]
    return Coefficients((x.shape[2], x.shape[3]), planes, steps, factors)


def crop(coefficients: Coefficients | Any, rows: slice) -> Coefficients:
    """The coefficients of a band of image rows, cut at multiples of `strip_height` (or at the lower edge)."""
    tallest = max(down for down, _ in coefficients.sampling)
    planes = []
    for plane, (own, _) in zip(coefficients.planes, coefficients.sampling, strict=True):
        height = 8 * tallest // own  # image rows per block
        planes.append(plane[rows.start // height : -(-rows.stop // height)])
    size = rows.stop - rows.start, coefficients.size[1]
    colour = getattr(coefficients, "colour", "YCbCr")
    return Coefficients(size, planes, coefficients.tables, coefficients.sampling, colour)


def quantisation_level(planes: Sequence[Any], tables: Sequence[Any], colour: str = "YCbCr") -> float:
    """`Jpeg.level` from the coefficients, (blocks down, across, 8, 8), and the table of each component."""
    errors = [
        float(quantisation_error(torch.as_tensor(k), torch.as_tensor(q)).mean())
        for k, q in zip(planes, tables, strict=True)
    ]
    gains = (np.linalg.inv(COLOURS[colour]) ** 2).mean(0)  # of the errors of Y, Cb, Cr in the conversion to RGB
    return math.sqrt(sum(gain * error for gain, error in zip(gains, errors, strict=False))) / HALF_RANGE


def _correction(c: Component, plane: Tensor, k: Tensor, error: float) -> Tensor:
    """T^-1 (clamp(T p, (k - 1/2) q, (k + 1/2) q) - T p) of a plane p of blocks; see `Jpeg.fit`."""
    steps = _steps(c, plane)
    coefficients = transform(plane)
    off = inside = (coefficients / steps).sub_(k)
    if error:
        deviation = (VARIES * _activity(coefficients)).clamp(max=error * HALF_RANGE)
        inside = expected_in_interval(off, deviation / steps)
    return inverse_transform(inside.clamp(-SLACK, SLACK).sub_(off).mul_(steps))


def _activity(coefficients: Tensor) -> Tensor:
    """The RMS of each block's coefficients but the first, (B, 8m, 8n) like the coefficients."""
    blocks = to_blocks(coefficients)
    squares = blocks.square().sum((3, 4), keepdim=True) - blocks[..., :1, :1].square()
    return from_blocks((squares.clamp(min=0) / 63).sqrt().expand_as(blocks))


def _correct_edges(correction: Tensor, c: Component, plane: Tensor, k: Tensor, rows: slice, error: float) -> None:
    """Recomputes, in place, the correction of the blocks that extend beyond the image's right and lower edges.

    Outside the image the plane gets the decoder's samples. The correction would change those as well, so it is repeated
    ROUNDS times, and they are restored each time. It converges, because the decoded plane keeps them and needs no
    correction. Expectations are for the first time only; after that the coefficients have to be in their intervals.
    """
    height, width = c.size[0] - rows.start // c.factor[0], c.size[1]
    edges = []  # the first row and column of their blocks
    if width < plane.shape[2]:
        edges.append((0, width // 8 * 8))
    if height < plane.shape[1]:
        edges.append((height // 8 * 8, 0))
    for top, left in edges:
        part, wanted, inside = plane[:, top:, left:], k[:, top:, left:], (..., slice(height - top), slice(width - left))
        known = inverse_transform(wanted * _steps(c, wanted)).repeat(len(part) // len(wanted), 1, 1)
        known[inside] = part[inside]
        total = torch.zeros_like(known)
        for n in range(ROUNDS):
            total[inside] += _correction(c, known + total, wanted, error if n == 0 else 0.0)[inside]
        correction[:, top:, left:] = total


def quantisation_error(k: Tensor, table: Tensor) -> Tensor:
    """The expected squared quantisation error per frequency, (8, 8), of coefficients k, (m, n, 8, 8), in steps.

    If k is not zero, the error is uniform in the interval: q^2 / 12. Around zero it is less; how much less follows from
    the share of zeros. Over all blocks, the coefficients of one frequency have a density with a sharper peak and longer
    tails than Laplace's; exp(-sqrt(|c| / b)) was found to predict best. For it, with z = sqrt(q / 2b) and the
    incomplete gamma function P,

        share of nonzeros = (1 + z) exp(-z)
        E[c^2; zero] = b^2 5! P(6, z) = (q / 2)^2 5! P(6, z) / z^4
    """
    blocks = k.shape[0] * k.shape[1]
    # If all are zero, a thousandth of a coefficient counts as nonzero: the true share is not zero either.
    share = (k.abs() > 0.5).sum((0, 1)).double().cpu().clamp(1e-3, blocks - 1e-3) / blocks
    z = -share.log()
    for _ in range(200):  # converges slowly for small z, but there z hardly matters
        z = torch.log1p(z) - share.log()
    zeros = math.factorial(5) * torch.special.gammainc(torch.full_like(z, 6), z) / z**4
    return (table.double().cpu() / 2) ** 2 * (zeros + share / 3)


def _steps(c: Component, plane: Tensor) -> Tensor:
    """The quantisation step of every coefficient of a plane of blocks."""
    return c.table.to(plane).repeat(plane.shape[1] // 8, plane.shape[2] // 8)


def _samples(c: Component, rows: slice) -> slice:
    """The rows of a component's plane of whole blocks that belong to these image rows."""
    start, stop = rows.start // c.factor[0], -(-rows.stop // c.factor[0])
    return slice(start, -(-stop // 8) * 8)


def _cut(blocks: Tensor, c: Component, rows: slice) -> Tensor:
    """The quantised coefficients of a strip, in the layout of `transform`."""
    samples = _samples(c, rows)
    return from_blocks(blocks[:, samples.start // 8 : samples.stop // 8]).float()


def _component(size: tuple[int, int], table: Any, own: Sequence[int], sampling: Sequence[Sequence[int]]) -> Component:
    largest = [max(factors[axis] for factors in sampling) for axis in (0, 1)]
    if any(most % one for most, one in zip(largest, own, strict=True)):
        raise RestoreError(
            f"JPEG with sampling factors {tuple(map(tuple, sampling))}: save it again with 4:2:0 or 4:4:4"
        )
    down, across = (most // one for most, one in zip(largest, own, strict=True))
    samples = -(-size[0] // down), -(-size[1] // across)
    blocks = -(-samples[0] // 8), -(-samples[1] // 8)
    return Component(torch.as_tensor(table).float(), (down, across), samples, blocks)


def _checked(plane: Any, c: Component) -> Tensor:
    """The coefficients of the blocks inside the image, (1, m, n, 8, 8), in the memory layout that `fit` reads."""
    plane = torch.as_tensor(plane)
    if plane.ndim != 4 or plane.shape[2:] != (8, 8) or plane.shape[0] < c.blocks[0] or plane.shape[1] < c.blocks[1]:
        raise RestoreError(f"JPEG plane {tuple(plane.shape)} for {c.blocks} blocks of 8 x 8: the file is damaged")
    return to_blocks(from_blocks(plane[None, : c.blocks[0], : c.blocks[1]]).contiguous())
