"""Restores holes from the parts of the image on which their pixels depend, with the same result as from the whole."""

import copy
import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .. import fill, schemes, spans
from ..model import BCM, Noise
from ..networks import Network
from ..networks.tiled import LEAST_ROWS, TiledNetwork
from ..operators import Operator
from ..schemes import Move, Progress, Scheme, Setting, State
from ..spans import widened
from .runner import pieces

SHARE = 0.5  # of the work on the whole image, at most; above, the whole is restored


@dataclass(frozen=True)
class Window:
    """A region of an image."""

    rows: slice
    columns: slice

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)

    def widened(self, reach: int, size: tuple[int, int], multiple: int, least: int = 1) -> "Window":
        """The region and `reach` pixels around it.

        Args:
            reach: in pixels.
            size: (H, W) of the image, which contains the result.
            multiple: the result is cut at multiples of it, or at the border of the image.
            least: height and width of the result, unless the image is smaller.
        """
        found = []
        for span, side in zip((self.rows, self.columns), size, strict=True):
            wide, _ = widened(span, reach, side)
            start = max(min(wide.start, side - least), 0) // multiple * multiple
            stop = max(wide.stop, start + least)
            found.append(slice(start, min(-(-stop // multiple) * multiple, side)))
        return Window(*found)

    def within(self, outer: "Window") -> "Window":
        """The region relative to one that contains it."""
        pairs = (self.rows, outer.rows), (self.columns, outer.columns)
        return Window(*(slice(own.start - other.start, own.stop - other.start) for own, other in pairs))


@dataclass(frozen=True)
class Reach:
    """How far an evaluation's output and its input have to be right, in pixels around the rectangle of the hole."""

    output: int
    input: int


def reaches(scheme: Scheme, halo: int, map_halo: int) -> list[Reach]:
    """The reach of each evaluation, so that the hole is filled as in the whole image.

    From the last move back to the first: an evaluation needs x within the network's halo. `fit` takes known pixels from
    the measurements, so it needs x only in the rectangle. `renoise` also needs what the evaluation before it removed
    from known pixels; so such evaluations reach further and further.

    Args:
        scheme: the moves.
        halo: the network's receptive field beyond a pixel.
        map_halo: the same with level maps.
    """
    x, removed, found = 0, 0, []
    for move, hole in zip(reversed(scheme.moves), reversed(list(_hole_modes(scheme.moves))), strict=True):
        if move.word == "fit":
            x = 0
        elif move.word == "renoise":
            removed = x
        elif move.nfe and hole:  # known pixels do not change, and nothing is removed from them
            found.append(Reach(0, map_halo))
            x, removed = max(x, map_halo), 0
        elif move.nfe:
            output = max(x, removed)
            found.append(Reach(output, output + halo))
            x, removed = output + halo, 0
    return found[::-1]


def _hole_modes(moves: Sequence[Move]) -> Iterator[bool]:
    """Whether known pixels are clean during each move."""
    hole = False
    for move in moves:
        hole = move.hole or (hole and move.word != "level")
        yield hole


@dataclass(frozen=True)
class Neighbourhood:
    """What to compute for a hole.

    Attributes:
        window: the part of the image that is restored.
        evaluations: of each evaluation the part that has to be right, and its input, relative to `window`.
    """

    window: Window
    evaluations: list[tuple[Window, Window]]


def find(hole: Tensor, scheme: Scheme, network: Network) -> list[Neighbourhood] | None:
    """The disjoint neighbourhoods of holes; None if they are large, or not much less work than the whole image.

    Args:
        hole: (1, 1, H, W) bool, True where pixels are unknown.
        scheme: the moves.
        network: with exact tiles.
    """
    assert isinstance(network, TiledNetwork)
    inner, size, marked = network.network, (hole.shape[2], hole.shape[3]), hole[0, 0].cpu().numpy()
    needed = reaches(scheme, inner.halo, inner.map_halo)
    apart = fill.MARGIN + max(reach.input for reach in needed) + inner.multiple + LEAST_ROWS
    found = []
    for rows, columns in fill.clusters(marked, apart):
        around = _rectangle(marked, rows, columns)
        parts = [
            (
                around.widened(reach.output, size, inner.multiple),
                around.widened(reach.input, size, inner.multiple, LEAST_ROWS),
            )
            for reach in needed
        ]
        window = max((seen for _, seen in parts), key=lambda seen: seen.pixels)
        found.append(Neighbourhood(window, [(own.within(window), seen.within(window)) for own, seen in parts]))
    work = sum(seen.pixels for near in found for _, seen in near.evaluations) / (len(needed) * size[0] * size[1])
    if work > SHARE or max(near.window.pixels for near in found) > spans.LARGE:
        return None
    return found


def _rectangle(hole: np.ndarray, rows: slice, columns: slice) -> Window:
    """The rectangle on which the smooth fill of a part of a hole (H, W) depends."""
    left, top, width, height = cv2.boundingRect(hole[rows, columns].astype(np.uint8))
    top, left = rows.start + top, columns.start + left
    tight = Window(slice(top, top + height), slice(left, left + width))
    return tight.widened(fill.MARGIN, (hole.shape[0], hole.shape[1]), 1)


@dataclass(frozen=True)
class Part:
    """A window of a problem.

    Attributes:
        near: from `find`.
        x, y: (1, 3, h, w), the first estimate and the measurements.
        operator: its `fit` takes known pixels from y.
        noise: draws the noise of the window, see `window_noise`.
    """

    near: Neighbourhood
    x: Tensor
    operator: Operator
    y: Tensor
    noise: Callable[[Tensor], Tensor]


def run(scheme: Scheme, model: BCM, parts: Sequence[Part], progress: Progress | None = None) -> list[Tensor]:
    """`schemes.run` in neighbourhoods: holes are filled as in the whole image; beside them the results have no meaning.

    Args:
        scheme, model: see `schemes.run`; the model's `nfe` grows by `scheme.nfe`.
        parts: the windows.
        progress: called after each evaluation of all windows.
    """
    schemes.check(scheme, model)
    states, number, done = [State(part.x, 0.0) for part in parts], 0, 0
    for position, move in enumerate(scheme.moves):
        for state, part in zip(states, parts, strict=True):
            state.remember = any(later.word == "renoise" for later in scheme.moves[position:])
            local = copy.copy(model)
            if move.nfe:
                local.network = _Middle(model.network, *part.near.evaluations[number])
            schemes.step([state], move, [Setting(local, part.operator, part.y, part.noise)])
        if move.nfe:
            number, done = number + 1, done + move.nfe
            if progress:
                progress(done, scheme.nfe)
    model.nfe += scheme.nfe
    return [state.x for state in states]


def window_noise(noise: Noise, size: tuple[int, int], windows: Sequence[Window]) -> list[Callable[[Tensor], Tensor]]:
    """Draws the noise of windows of an image of `size` (H, W): the numbers that they have there in the whole image."""
    drawn: list[deque[Tensor]] = [deque() for _ in windows]

    def draw(queue: deque[Tensor], like: Tensor) -> Tensor:
        if not queue:
            for each, part in zip(drawn, _parts(noise, size, windows), strict=True):
                each.append(part)
        return queue.popleft().to(like.device, like.dtype)

    return [functools.partial(draw, queue) for queue in drawn]


def _parts(noise: Noise, size: tuple[int, int], windows: Sequence[Window]) -> list[Tensor]:
    """One draw: (1, 3, h, w) for each window."""
    height, width = size
    found = [torch.empty(3, (window.rows.stop - window.rows.start) * width) for window in windows]
    for start, values in pieces(noise, size):
        for window, out in zip(windows, found, strict=True):
            for channel in range(3):
                first = (channel * height + window.rows.start) * width
                own = slice(max(start, first), min(start + len(values), first + out.shape[1]))
                if own.start < own.stop:
                    out[channel, own.start - first : own.stop - first] = values[own.start - start : own.stop - start]
    return [
        out.view(1, 3, -1, width)[..., window.columns].contiguous() for window, out in zip(windows, found, strict=True)
    ]


class _Middle(Network):
    """A network for the part `own` of its input, which it sees in the part `seen`; elsewhere its output is zero."""

    def __init__(self, network: Network, own: Window, seen: Window) -> None:
        super().__init__()
        self.network, self.own, self.seen = network, own, seen

    def oriented(self, number: int) -> "_Middle":
        """The network in another orientation; the parts stay where they are."""
        return _Middle(self.network.oriented(number), self.own, self.seen)

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (1, 3, h, w) and the rest; see `Network`."""
        window = (slice(None), slice(None), self.seen.rows, self.seen.columns)
        inner, out = self.own.within(self.seen), torch.zeros_like(x)
        part = self.network(x[window].contiguous(), t, u, None if maps is None else maps[window])
        out[:, :, self.own.rows, self.own.columns] = part[:, :, inner.rows, inner.columns]
        return out
