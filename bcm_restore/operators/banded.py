"""Banded matrices: products and pseudo-inverses in linear time.

Resampling n samples to m is a matrix with only a few nonzero entries per row. Such a matrix is split into dense blocks
of consecutive rows, so that a product is one small dense product per block, on CPU or GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Matrix = NDArray[Any]  # float64

ROWS = 32  # the least number in a block: more make the blocks sparser, fewer make the products too small to be fast


class OnDevice:
    """Float64 matrices that are copied to a device and dtype when first needed, and cached."""

    def __init__(self, matrices: Sequence[Matrix]) -> None:
        self.matrices = matrices
        self._copies: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    def like(self, x: Tensor) -> list[Tensor]:
        """The matrices on the device of x and in its dtype."""
        key = (x.device, x.dtype)
        if key not in self._copies:
            self._copies[key] = [torch.from_numpy(matrix).to(*key) for matrix in self.matrices]
        return self._copies[key]


class Banded:
    """An m x n matrix M of full rank with few nonzero columns per row, given by its entries.

    Args:
        rows, columns, values: one-dimensional, M[rows[i], columns[i]] = values[i]; no duplicates, no empty rows.
        shape: (m, n).

    `M(x)` and `M.pinv(y)` act on axis -2 of (..., n, k) and (..., m, k); for the last axis pass `x.mT`.

        >>> M = Banded([0, 0, 1, 1], [0, 1, 2, 3], [0.5, 0.5, 0.5, 0.5], (2, 4))
        >>> M(torch.tensor([[1.0], [3.0], [5.0], [7.0]])).T
        tensor([[2., 6.]])
        >>> M.pinv(torch.tensor([[2.0], [6.0]])).round(decimals=4).T
        tensor([[2., 2., 6., 6.]])
    """

    def __init__(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike, shape: tuple[int, int]) -> None:
        order = np.argsort(np.asarray(rows), kind="stable")
        self.rows, self.columns, self.values = (np.asarray(entries)[order] for entries in (rows, columns, values))
        self.shape = shape
        self.step = max(ROWS, self._reach())  # rows in a block
        starts = range(0, shape[0], self.step)
        edges = np.searchsorted(self.rows, [*starts, shape[0]])
        self.spans: list[tuple[int, int]] = []  # the columns that a block covers, [first, end)
        blocks: list[Matrix] = []
        for start, first, end in zip(starts, edges[:-1], edges[1:], strict=True):
            within = self.columns[first:end]
            span = int(within.min()), int(within.max()) + 1
            block = np.zeros((min(self.step, shape[0] - start), span[1] - span[0]))
            block[self.rows[first:end] - start, within - span[0]] = self.values[first:end]
            self.spans.append(span)
            blocks.append(block)
        self.blocks = OnDevice(blocks)
        self._transposed: Banded | None = None
        self._gram: GramInverse | None = None

    def _reach(self) -> int:
        """The largest distance of two rows that share a column. In blocks this tall only neighbours share columns."""
        first, last = np.full(self.shape[1], self.shape[0]), np.zeros(self.shape[1], dtype=np.intp)
        np.minimum.at(first, self.columns, self.rows)
        np.maximum.at(last, self.columns, self.rows)
        return int((last - first).max())

    @property
    def T(self) -> Banded:
        """The transposed matrix."""
        if self._transposed is None:
            self._transposed = Banded(self.columns, self.rows, self.values, (self.shape[1], self.shape[0]))
        return self._transposed

    def __call__(self, x: Tensor) -> Tensor:
        """M x, (..., n, k) -> (..., m, k)."""
        planes = x.reshape(-1, *x.shape[-2:])
        y = x.new_empty(len(planes), self.shape[0], x.shape[-1])
        starts = range(0, self.shape[0], self.step)
        for start, (first, end), block in zip(starts, self.spans, self.blocks.like(x), strict=True):
            y[:, start : start + self.step] = _product(block, planes[:, first:end])  # slices pass gradients
        return y.reshape(*x.shape[:-2], *y.shape[1:])

    def pinv(self, y: Tensor) -> Tensor:
        """M^+ y, (..., m, k) -> (..., n, k): M^T (M M^T)^-1 y if M is wider than high, else (M^T M)^-1 M^T y."""
        wide = self if self.shape[0] <= self.shape[1] else self.T
        if wide._gram is None:
            wide._gram = GramInverse(wide)
        return self.T(wide._gram(y)) if wide is self else wide._gram(wide(y))


class GramInverse:
    """(M M^T)^-1 for a banded M of full row rank.

    Only neighbouring blocks of M share columns, so M M^T is block tridiagonal, with D_i on the diagonal and E_i left of
    it. Its Cholesky factor has L_i and C_i in the same positions:

        C_i = E_i L_(i-1)^-T,    L_i L_i^T = D_i - C_i C_i^T

    Solving takes one forward and one backward sweep. It is exact and never forms an m x m matrix.
    """

    def __init__(self, matrix: Banded) -> None:
        self.step = matrix.step
        blocks, spans = matrix.blocks.matrices, matrix.spans
        inverses: list[Matrix] = []  # L_i^-1
        left: list[Matrix] = []  # C_i, from i = 1
        for i, block in enumerate(blocks):
            square = block @ block.T
            if i > 0:
                first = max(spans[i - 1][0], spans[i][0])  # of the columns that both blocks share
                end = max(first, min(spans[i - 1][1], spans[i][1]))
                here, before = (
                    b[:, first - s : end - s] for b, s in ((block, spans[i][0]), (blocks[i - 1], spans[i - 1][0]))
                )
                left.append(here @ before.T @ inverses[-1].T)
                square -= left[-1] @ left[-1].T
            inverses.append(np.linalg.inv(np.linalg.cholesky(square)))
        self.inverses, self.left = OnDevice(inverses), OnDevice(left)

    def __call__(self, y: Tensor) -> Tensor:
        """(M M^T)^-1 y, (..., m, k)."""
        x = y.clone(memory_format=torch.contiguous_format)
        parts = x.view(-1, *x.shape[-2:]).split(self.step, 1)
        inverses, left = self.inverses.like(x), self.left.like(x)
        for i, part in enumerate(parts):
            if i > 0:
                part -= _product(left[i - 1], parts[i - 1])
            part[:] = _product(inverses[i], part)
        for i in reversed(range(len(parts))):
            if i + 1 < len(parts):
                parts[i].sub_(_product(left[i].T, parts[i + 1]))
            parts[i][:] = _product(inverses[i].T, parts[i])
        return x


def _product(matrix: Tensor, planes: Tensor) -> Tensor:
    """The matrix times each plane, (m, n) and (B, n, k) -> (B, m, k)."""
    return torch.bmm(matrix.expand(len(planes), *matrix.shape), planes)
