"""Runs schemes on images too large for memory: each move is a sweep over a file, with the same result as in memory."""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .. import schemes
from ..model import BCM, Noise
from ..networks.orientations import ORDER
from ..networks.tiled import Tile, TiledNetwork, TileEvaluator, TileSweep
from ..operators import Operator
from ..schemes import Move, Progress, Scheme, Setting, State
from .images import DiskImage
from .problem import BandProblem

_EMPTY = torch.empty(0)
PIECE = 1 << 22  # numbers drawn at once; PyTorch draws the same numbers in pieces if they are multiples of 16


def run(
    scheme: Scheme,
    model: BCM,
    problem: BandProblem,
    noise: Noise,
    finish: Callable[[DiskImage], Any],
    progress: Progress | None,
) -> Any:
    """`schemes.run` for an image on disk.

    Args:
        scheme, model: see `schemes.run`; the model's network has exact tiles. Its `nfe` grows by `scheme.nfe`.
        problem: the problem to solve.
        noise: of one image.
        finish: converts the result to the return value; the file is deleted at the end of the call.
        progress: its method `tile`, or else itself, is called with (tiles done, total) after each tile.

    Raises:
        DiskFull: the disk has no space for the files.
        RestoreError: see `schemes.run`.
    """
    schemes.check(scheme, model, problem.t0)
    with ExitStack() as files:
        state = _Run(scheme, model, problem, noise, files, getattr(progress, "tile", progress))
        problem.begin(state.x)
        for position in range(len(scheme.moves)):
            state.apply(position)
        return finish(state.x)


class _TileResult(NamedTuple):
    """A tile after an evaluation, the removed noise if it is remembered, and the tile's position."""

    x: Tensor
    removed: Tensor | None
    tile: Tile


class _Run:
    """The state of a run (see `schemes.State`) in files, and the moves that change it."""

    def __init__(
        self,
        scheme: Scheme,
        model: BCM,
        problem: BandProblem,
        noise: Noise,
        files: ExitStack,
        progress: Progress | None,
    ) -> None:
        self._moves, self._model, self._problem, self._noise, self._progress = (
            scheme.moves,
            model,
            problem,
            noise,
            progress,
        )
        self._level, self._denoised_from, self._hole, self._fitted = problem.t0, 0.0, False, False
        self._last_renoise = max((n for n, move in enumerate(scheme.moves) if move.word == "renoise"), default=-1)
        images = [
            files.enter_context(DiskImage(problem.size, model.device)) for _ in range(2 + (self._last_renoise >= 0))
        ]
        self.x, self._spare, self._removed = images[0], images[1], images[-1]
        self._tiled = cast(TiledNetwork, model.network)
        self._done = 0

    def apply(self, position: int) -> None:
        """Applies the move at that position."""
        move, self._remember = self._moves[position], position <= self._last_renoise
        if move.word == "fit":
            if not self._fitted:
                error = schemes.remaining_error(self._level, self._denoised_from, self._problem.t0)
                self._problem.fit(self.x, self._spare, error)
                self._swap()
            self._fitted = False
        elif move.nfe:
            self._denoised_from = self._level if move.word == "mean" else 0.0
            following = self._moves[position + 1 : position + 2]
            self._evaluate(position, fit=bool(following) and following[0].word == "fit")
        elif move.word == "level":
            self._level, self._hole = self._step(State(_EMPTY, self._level), move).level, False
        else:
            self._add_noise(move)

    def _swap(self) -> None:
        self.x, self._spare = self._spare, self.x

    def _step(self, state: State, move: Move, **setting: Any) -> State:
        """Applies a move to a part of the image; returns its state."""
        setting = {"model": self._model, "operator": _NO_OPERATOR, "noise": self._noise, **setting}
        schemes.step([state], move, [Setting(y=None, t0=self._problem.t0, labels=self._problem.labels, **setting)])
        return state

    def _evaluate(self, position: int, fit: bool) -> None:
        """`to` and `mean`: one evaluation, tile by tile, including the `fit` that follows if it is pixelwise.

        If GPU memory runs out, the evaluation restarts with smaller tiles: its input is unchanged.
        """
        move, device = self._moves[position], self._model.device
        self._level = self._tiled.run_within_memory(
            device,
            lambda: (1, self._tiles(self._hole)),
            lambda plan: self._sweep(move, fit, plan[1], self._done + self._remaining_tiles(position)),
        )
        self._done += len(self._tiles(self._hole))
        self._model.nfe += move.nfe
        self._swap()

    def _sweep(self, move: Move, fit: bool, tiles: list[Tile], total: int) -> float:
        """Applies the move to every tile; returns the image's new level.

        A thread reads the next tile and writes the last one meanwhile, so that the network does not wait for the disk.
        """
        height, level, done = self._problem.size[0], self._level, None
        sweeps = {number: TileSweep(self._tiled.oriented(number), height) for number in ORDER[: move.nfe]}
        with ThreadPoolExecutor(1) as disk:
            exchange = disk.submit(self._exchange, None, tiles[0])
            for n, (tile, following) in enumerate(zip(tiles, [*tiles[1:], None], strict=True)):
                x = exchange.result()
                exchange = disk.submit(self._exchange, done, following)
                known = self._known(tile.seen_rows, tile.seen_columns)
                state = State(x, self._level, known, remember=self._remember)
                done = self._evaluate_tile(state, move, fit, TileEvaluator(sweeps, tile))
                level = state.level
                if self._progress:
                    self._progress(self._done + n + 1, total)
            exchange.result()
        self._exchange(done, None)
        return level

    def _evaluate_tile(self, state: State, move: Move, fit: bool, evaluator: TileEvaluator) -> _TileResult:
        """The tile after the move."""
        model = copy.copy(self._model)  # so that tiles do not count in its `nfe`
        model.network = evaluator
        self._step(state, move, model=model)
        inner = slice(None), slice(None), *evaluator.tile.inside
        part = state.x[inner]
        fitted = self._problem.fit_tile(part, evaluator.tile.rows, evaluator.tile.columns) if fit else None
        self._fitted = fitted is not None
        removed = None if state.removed is None else state.removed[inner].cpu()
        return _TileResult((part if fitted is None else fitted).cpu(), removed, evaluator.tile)

    def _exchange(self, done: _TileResult | None, following: Tile | None) -> Tensor:
        """Writes a finished tile and reads the input region of the next one."""
        if done:
            self._spare.write(done.x, done.tile.rows, done.tile.columns)
            if done.removed is not None:
                self._removed.write(done.removed, done.tile.rows, done.tile.columns)
        return self.x.read(following.seen_rows, following.seen_columns) if following else _EMPTY

    def _tiles(self, hole: bool) -> list[Tile]:
        return self._tiled.tiles(self._problem.size, hole, self._model.device)

    def _remaining_tiles(self, position: int) -> int:
        """The number of tiles from that move to the end."""
        total, hole = 0, self._hole
        for move in self._moves[position:]:
            hole = move.hole or (hole and move.word != "level")
            total += len(self._tiles(hole)) if move.nfe else 0
        return total

    def _known(self, rows: slice, columns: slice) -> Tensor | None:
        """The known pixels of a region if they are clean while the rest is noisy, else None."""
        known = self._problem.known(rows, columns) if self._hole else None
        return None if known is None else known.to(self._model.device)

    def _add_noise(self, move: Move) -> None:
        """`noise` and `renoise`, with the same noise as for the whole image in memory."""
        draw(self._noise, self._spare)  # drawing it band by band would give other numbers
        everywhere = slice(0, self._problem.size[1])
        level = self._level
        for rows in self.x.bands(self._problem.unit):
            known = self._known(rows, everywhere)
            removed = self._removed.read(rows) if move.word == "renoise" else None
            state = State(self.x.read(rows), level, known, removed)
            operator = self._problem.operator(rows) if move.hole else _NO_OPERATOR
            self._step(state, move, operator=operator, noise=self._drawn(rows))
            self.x.write(state.x, rows)
            self._level = state.level
        self._hole |= move.hole

    def _drawn(self, rows: slice) -> Callable[[Tensor], Tensor]:
        return lambda like: self._spare.read(rows)


class _NoOperator(Operator):
    """A placeholder for moves that use no operator."""

    def A(self, x: Tensor) -> Tensor:
        """Never called."""
        raise NotImplementedError

    def pinv(self, y: Any) -> Tensor:
        """Never called."""
        raise NotImplementedError


_NO_OPERATOR = _NoOperator()


def draw(noise: Noise, image: DiskImage) -> None:
    """Fills an image with the numbers that `noise` would draw for (1, 3, H, W) in memory."""
    for start, values in pieces(noise, image.size):
        image.write_flat(start, values)


def pieces(noise: Noise, size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
    """The numbers that `noise` would draw for (1, 3, H, W) in memory: pieces (n,), each with the index of its first."""
    [generator] = noise.generators
    total, start = 3 * size[0] * size[1], 0
    while start < total:
        left = total - start
        count = left if left < PIECE + 16 else PIECE  # PyTorch draws fewer than 16 numbers differently
        yield start, torch.empty(count).normal_(generator=generator)
        start += count
