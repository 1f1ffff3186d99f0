"""The smooth fill of images on disk: for large holes, finer grids are solved tile by tile, coarser ones in memory."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import cv2
import numpy as np
import torch
from torch import Tensor

from .. import fill
from ..spans import bands, tiles, widened
from .images import DiskImage, MemoryImage

WHOLE = 2_000_000  # pixels of a grid that is solved in memory
SIDE = 512  # of tiles, in pixels; even. The working set nearly fits the processor's cache
OVERLAP = 16  # pixels around a tile that are solved with it; even. Beyond, pixels are fixed to the coarser solution
_FIXED = 2  # pixels fixed at a cut edge, as their energy also depends on pixels beyond it

Bounds = tuple[np.ndarray, np.ndarray]  # (3,) each, the smallest and the largest value
Reader = Callable[[slice, slice], np.ndarray]  # rows and columns to (h, w, 3) float32


def fill_hole(image: DiskImage | MemoryImage, hole: Tensor) -> None:
    """`fill.smooth_fill` in place; on disk the result differs slightly, because tiles are solved separately.

    Args:
        image: its values in the hole are ignored.
        hole: (B or 1, 1, H, W) bool, True where unknown; at least one pixel of each image is known.
    """
    images: Sequence[DiskImage | MemoryImage] = image.split()
    for one, own in zip(images, hole.expand(len(images), -1, -1, -1)[:, 0].cpu().numpy(), strict=True):
        large = np.zeros_like(own)
        for rows, columns in fill.clusters(own):
            if isinstance(one, MemoryImage) or not in_tiles((rows, columns)):
                _write(one, fill.smooth_fill(_pixels(one, rows, columns), own[rows, columns]), rows, columns)
            else:
                large[rows, columns] = own[rows, columns]
        if large.any():
            assert isinstance(one, DiskImage)
            with ExitStack() as files:
                _solve(one, large, files, _bounds(one, large))


def in_tiles(window: tuple[slice, slice]) -> bool:
    """Whether the part of a hole in these rows and columns of an image on disk is solved in tiles."""
    rows, columns = window
    return (rows.stop - rows.start) * (columns.stop - columns.start) > WHOLE


def _bounds(image: DiskImage, hole: np.ndarray) -> Bounds:
    """The smallest and the largest values of the known pixels."""
    low, high = torch.full((3,), torch.inf), torch.full((3,), -torch.inf)
    for rows in image.bands():
        pixels, unknown = image.read(rows)[0].cpu(), torch.from_numpy(hole[rows])
        low = torch.minimum(low, pixels.masked_fill(unknown, torch.inf).amin((1, 2)))
        high = torch.maximum(high, pixels.masked_fill(unknown, -torch.inf).amax((1, 2)))
    return low.numpy(), high.numpy()


def _solve(image: DiskImage, hole: np.ndarray, files: ExitStack, bounds: Bounds | None = None) -> Reader:
    """Solves a grid in place, starting from the coarsest; returns a reader of the solution."""
    if hole.size <= WHOLE:
        whole = slice(0, hole.shape[0]), slice(0, hole.shape[1])
        solution = fill.solve(_pixels(image, *whole), hole)
        return lambda rows, columns: solution[rows, columns]
    coarse_hole, coarse = _halve(image, hole, files)
    guess = _solve(coarse, coarse_hole, files)
    for rows, columns in tiles(hole.shape, SIDE):
        if hole[rows, columns].any():
            _relax_tile(image, hole, guess, rows, columns, bounds)
    return lambda rows, columns: _pixels(image, rows, columns)


def _halve(image: DiskImage, hole: np.ndarray, files: ExitStack) -> tuple[np.ndarray, DiskImage]:
    """The hole and the pixels of the grid at half the size."""
    height, width = hole.shape
    size = (height + 1) // 2, (width + 1) // 2
    coarse, share = files.enter_context(DiskImage(size)), np.empty(size, np.float32)
    for rows in bands(size):
        fine = slice(2 * rows.start, min(2 * rows.stop, height))
        odd = 2 * (rows.stop - rows.start) - (fine.stop - fine.start), width % 2
        part, unknown = _pixels(image, fine, slice(0, width)), hole[fine]
        if any(odd):
            part = np.pad(part, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
            unknown = np.pad(unknown, ((0, odd[0]), (0, odd[1])), mode="edge")
        means, share[rows] = fill.known_means(part, unknown)
        _write(coarse, means, rows, slice(0, size[1]))
    return fill.too_few(share), coarse


def _relax_tile(
    image: DiskImage,
    hole: np.ndarray,
    guess: Reader,
    rows: slice,
    columns: slice,
    bounds: Bounds | None,
) -> None:
    """Solves a tile of the grid in place, starting from the coarser grid's solution."""
    height, width = hole.shape
    (outer_rows, inner_rows), (outer_columns, inner_columns) = (
        widened(rows, OVERLAP, height),
        widened(columns, OVERLAP, width),
    )
    outer = outer_rows, outer_columns
    free = hole[outer].copy()
    x = np.where(free[..., None], _enlarged(guess, *outer, hole.shape), _pixels(image, *outer))
    # edges of the whole image are not cut
    free[: _FIXED * (outer_rows.start > 0)] = False
    free[free.shape[0] - _FIXED * (outer_rows.stop < height) :] = False
    free[:, : _FIXED * (outer_columns.start > 0)] = False
    free[:, free.shape[1] - _FIXED * (outer_columns.stop < width) :] = False
    solution = fill.relax(x, free)[inner_rows, inner_columns]
    _write(image, _clipped(solution, hole[rows, columns], bounds) if bounds else solution, rows, columns)


def _enlarged(coarse: Reader, rows: slice, columns: slice, size: tuple[int, ...]) -> np.ndarray:
    """A region of the grid of `size`, interpolated linearly from the coarser grid."""
    spans = [
        widened(slice(span.start // 2, (span.stop + 1) // 2), 1, (side + 1) // 2)
        for span, side in zip((rows, columns), size, strict=True)
    ]
    part = coarse(spans[0][0], spans[1][0])
    fine = cv2.resize(part, (2 * part.shape[1], 2 * part.shape[0]), interpolation=cv2.INTER_LINEAR)
    top, left = (span.start - 2 * outer.start for span, (outer, _) in zip((rows, columns), spans, strict=True))
    return fine[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]


def _pixels(image: DiskImage | MemoryImage, rows: slice, columns: slice) -> np.ndarray:
    """(h, w, 3) float32."""
    return np.ascontiguousarray(image.read(rows, columns)[0].permute(1, 2, 0).cpu().numpy())


def _write(image: DiskImage | MemoryImage, pixels: np.ndarray, rows: slice, columns: slice) -> None:
    image.write(torch.from_numpy(pixels).permute(2, 0, 1)[None], rows, columns)


def _clipped(solution: np.ndarray, hole: np.ndarray, bounds: Bounds) -> np.ndarray:
    return np.where(hole[..., None], np.clip(solution, *bounds), solution)
