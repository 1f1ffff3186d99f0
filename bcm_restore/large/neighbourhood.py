"""Restores a hole from the part of the image on which its pixels depend, with the same result as from the whole."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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


def find(hole: Tensor, scheme: Scheme, network: Network) -> Neighbourhood | None:
    """The neighbourhood of a hole; None if it is large, or not much less work than the whole image.

    Args:
        hole: (1, 1, H, W) bool, True where pixels are unknown.
        scheme: the moves.
        network: with exact tiles.
    """
    assert isinstance(network, TiledNetwork)
    inner, size = network.network, (hole.shape[2], hole.shape[3])
    around = rectangle(hole)
    found = [
        (
            around.widened(reach.output, size, inner.multiple),
            around.widened(reach.input, size, inner.multiple, LEAST_ROWS),
        )
        for reach in reaches(scheme, inner.halo, inner.map_halo)
    ]
    window = max((seen for _, seen in found), key=lambda seen: seen.pixels)
    work = sum(seen.pixels for _, seen in found) / (len(found) * size[0] * size[1])
    if work > SHARE or window.pixels > spans.LARGE:
        return None
    return Neighbourhood(window, [(own.within(window), seen.within(window)) for own, seen in found])


def rectangle(hole: Tensor) -> Window:
    """The rectangle around a hole (1, 1, H, W) on which its smooth fill depends."""
    return Window(*fill.around(hole[0, 0].cpu().numpy()))


def run(
    scheme: Scheme,
    model: BCM,
    near: Neighbourhood,
    x: Tensor,
    operator: Operator,
    y: Tensor,
    noise: Callable[[Tensor], Tensor],
    progress: Progress | None = None,
) -> Tensor:
    """`schemes.run` in a neighbourhood: the hole is filled as in the whole image; beside it the result has no meaning.

    Args:
        scheme, model: see `schemes.run`; the model's `nfe` grows by `scheme.nfe`.
        near: from `find`.
        x, operator, y: of its window; the operator's `fit` takes known pixels from y.
        noise: draws the noise of its window, see `window_noise`.
        progress: called after each evaluation.
    """
    schemes.check(scheme, model)
    part, state, evaluations = copy.copy(model), State(x, 0.0), iter(near.evaluations)
    for position, move in enumerate(scheme.moves):
        state.remember = any(later.word == "renoise" for later in scheme.moves[position:])
        if move.nfe:
            part.network = _Middle(model.network, *next(evaluations))
        schemes.step([state], move, [Setting(part, operator, y, noise)])
        if move.nfe and progress:
            progress(part.nfe - model.nfe, scheme.nfe)
    model.nfe = part.nfe
    return state.x


def window_noise(noise: Noise, size: tuple[int, int], window: Window) -> Callable[[Tensor], Tensor]:
    """Draws the noise of a window of an image of `size` (H, W): the numbers that it has there in the whole image."""
    (height, width), rows = size, window.rows

    def draw(like: Tensor) -> Tensor:
        out = torch.empty(3, (rows.stop - rows.start) * width)
        for start, values in pieces(noise, size):
            for channel in range(3):
                first = (channel * height + rows.start) * width
                own = slice(max(start, first), min(start + len(values), first + out.shape[1]))
                if own.start < own.stop:
                    out[channel, own.start - first : own.stop - first] = values[own.start - start : own.stop - start]
        return out.view(1, 3, -1, width)[..., window.columns].to(like.device, like.dtype)

    return draw


class _Middle(Network):
    """A network for the part `own` of its input, which it sees in the part `seen`; elsewhere its output is zero."""

    def __init__(self, network: Network, own: Window, seen: Window) -> None:
        super().__init__()
        self.network, self.own, self.seen = network, own, seen

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (1, 3, h, w) and the rest; see `Network`."""
        window = (slice(None), slice(None), self.seen.rows, self.seen.columns)
        inner, out = self.own.within(self.seen), torch.zeros_like(x)
        part = self.network(x[window].contiguous(), t, u, None if maps is None else maps[window])
        out[:, :, self.own.rows, self.own.columns] = part[:, :, inner.rows, inner.columns]
        return out
