"""Evaluates a ConvUNet on images of any size in bounded memory: whole, or in tiles that give the same pixels."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spans import even
from .base import Network, in_batches
from .conv_unet import ConvUNet
from .streaming import Stream

# Peak memory of ConvUNet's activations, for each channel of its finest resolution and each pixel of the image: measured
# (2.1 to 2.9) on CPU at 1240x1240 to 3000x3000 with the default model, rounded up for GPUs, which do not use strips.
BYTES_PER_PIXEL_AND_CHANNEL = 4
# A larger budget is no faster on CPU, because of its caches; a GPU is used better with more.
CPU_BUDGET = 256 * 2**20
GPU_BUDGET = 1152 * 2**20

LEAST_ROWS = 128  # of a tile: convolutions of only a few rows would sum in another order


class Tile(NamedTuple):
    """A tile of an image, and its input region: the tile and its halo."""

    rows: slice
    columns: slice
    seen_rows: slice
    seen_columns: slice

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the tile within its input region."""
        pairs = (self.rows, self.seen_rows), (self.columns, self.seen_columns)
        rows, columns = (slice(own.start - seen.start, own.stop - seen.start) for own, seen in pairs)
        return rows, columns


Plan = tuple[int, list[Tile]]  # of an evaluation: the images per batch, and their tiles
Result = TypeVar("Result")


class TiledNetwork(Network):
    """A network with the same call, for any height and width from one pixel up, in bounded memory.

    The image is padded to the network's multiple, and evaluated whole where its activations fit the budget. Else it
    goes through the network from the top to the bottom, a tile of all its columns at a time, nothing being computed
    twice; what is too wide for that is cut into columns of tiles, each with a halo at its sides that covers the
    network's receptive field. The pixels do not depend on the tile size: up to rounding, and on CPU to the last bit if
    picture and tiles are at least 128 pixels wide and high (convolutions of less may add up in another order).

    On CPU the images of a batch are evaluated one by one, which is faster and gives them the same bits in any batch.
    Where a GPU's memory does not do, it is fewer images at a time, then smaller tiles, until it does.

    Args:
        network: a ConvUNet.
        tile: side of the tiles in pixels, without halo; rounded up to at least two of the network's multiples. None:
            chosen from `budget`.
        budget: bytes of memory for activations; None: `CPU_BUDGET` or `GPU_BUDGET`.
    """

    def __init__(self, network: ConvUNet, tile: int | None = None, budget: int | None = None) -> None:
        super().__init__()
        self.network, self.level_maps, self.exact_tiles = network, network.level_maps, network.exact_tiles
        self.tile = tile
        self.budget = budget
        self.limits: dict[torch.device, int] = {}  # half the pixels for which a device ran out of memory
        self._oriented: dict[tuple[int, torch.device], TiledNetwork] = {}

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (B, 3, H, W), t and u (B,), maps (B, 2, H, W) or None; see the network's own forward."""
        if torch.is_grad_enabled():
            return self._whole(x, t, u, maps)
        size, has_maps, device = (x.shape[2], x.shape[3]), maps is not None, x.device
        return self.run_within_memory(
            device,
            lambda: (min(self.at_once(*size, device), len(x)), self.tiles(size, has_maps, device)),
            lambda plan: self._forward(x, t, u, maps, *plan),
        )

    def run_within_memory(
        self, device: torch.device, plan: Callable[[], Plan], run: Callable[[Plan], Result]
    ) -> Result:
        """Calls `run` with smaller and smaller plans until the device has enough memory; returns its result.

        Raises:
            torch.OutOfMemoryError: no smaller plan is possible.
        """
        while True:
            images, tiles = tried = plan()
            try:
                return run(tried)
            except torch.OutOfMemoryError:
                failed = images * math.prod(seen.stop - seen.start for seen in tiles[0][2:])
                self.limits[device] = min(self._most(device), failed) // 2
                if plan() == tried:
                    del self.limits[device]  # this image is too large, but smaller ones may fit
                    raise

    def tiles(self, size: tuple[int, int], maps: bool, device: torch.device) -> list[Tile]:
        """The tiles of an image, in the order of their evaluation.

        Args:
            size: (H, W) of the image.
            maps: whether there are level maps.
            device: of the image.
        """
        network, (height, width), pixels = self.network, size, self._most(device)
        halo = network.map_halo if maps else network.halo
        if self.tile is not None:
            across = down = max(math.ceil(self.tile / network.multiple), 2) * network.multiple
        elif height * width <= pixels:
            across, down = width, height
        else:
            across = max(pixels // (LEAST_ROWS + halo) - 2 * halo, 2 * halo)
            across = width if width <= across + 2 * halo else across
            down = max(pixels // min(across + 2 * halo, width) - halo, LEAST_ROWS)
        rows = _spans(height, down, network.multiple, 1 if self.tile else LEAST_ROWS)
        columns = _spans(width, across, network.multiple)
        above = halo - network.halo
        return [
            Tile(
                own,
                column,
                slice(max(own.start - above, 0), min(own.stop + halo, height)),
                slice(max(column.start - halo, 0), min(column.stop + halo, width)),
            )
            for column in columns
            for own in rows
        ]

    def at_once(self, height: int, width: int, device: torch.device) -> int:
        """The number of images of that size to evaluate in one batch."""
        if self.tile is not None or not in_batches(device):
            return 1
        return max(self._most(device) // (height * width), 1)

    def oriented(self, number: int) -> "TiledNetwork":
        """The network in another orientation, with the same tiles."""
        if number == 0:
            return self
        key = number, self.network.entrance.weight.device
        if key not in self._oriented:
            turned = TiledNetwork(self.network.oriented(number), self.tile, self.budget)
            turned.limits = self.limits
            self._oriented[key] = turned
        return self._oriented[key]

    def _forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None, images: int, tiles: list[Tile]) -> Tensor:
        out = torch.empty_like(x[:, :3])  # without an image to condition on
        for start in range(0, len(x), images):
            batch, sweep = slice(start, start + images), TileSweep(self, x.shape[2])
            for tile in tiles:
                window = (batch, slice(None), tile.seen_rows, tile.seen_columns)
                part = None if maps is None else maps[window]
                out[batch, :, tile.rows, tile.columns] = sweep(tile, x[window], t[batch], u[batch], part)
        return out

    def _whole(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None) -> Tensor:
        """Evaluates whole images, for gradients: these would keep the activations of all tiles anyway."""
        images, multiple, size = self.at_once(x.shape[2], x.shape[3], x.device), self.network.multiple, x.shape[2:]
        padded = _pad(x, multiple).contiguous(memory_format=torch.channels_last).split(images)
        padded_maps = [None] * len(padded) if maps is None else _pad(maps, multiple).split(images)
        parts = zip(padded, t.split(images), u.split(images), padded_maps, strict=True)
        return torch.cat([self.network(*part) for part in parts])[:, :, : size[0], : size[1]]

    def _most(self, device: torch.device) -> int:
        """The number of pixels to evaluate at a time on a device."""
        budget = self.budget or (GPU_BUDGET if in_batches(device) else CPU_BUDGET)
        return self.limits.get(device, budget // (BYTES_PER_PIXEL_AND_CHANNEL * self.network.entrance.out_channels))


class TileSweep:
    """One evaluation of a tiled network on an image, tile by tile, in the order of `tiles`.

    Args:
        tiled: the network.
        height: of the image.
    """

    _stream: Stream

    def __init__(self, tiled: TiledNetwork, height: int) -> None:
        self._network = tiled.network
        self._height = height

    def __call__(self, tile: Tile, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for the next tile, (B, 3, h, w), given x and maps of its input region."""
        multiple = self._network.multiple
        if tile.rows.start == 0:
            self._stream = Stream(self._network, t, u, _ceil(self._height, multiple))
        x = _pad(x, multiple).contiguous(memory_format=torch.channels_last)
        maps = None if maps is None else _pad(maps, multiple)
        out = self._stream(x, maps, tile.seen_rows.start, _ceil(tile.rows.stop, multiple))
        return out[:, :, : tile.rows.stop - tile.rows.start, tile.inside[1]]


class TileEvaluator(Network):
    """A sweep at one tile, as a network for the input region; its output is zero outside the tile.

    Args:
        sweeps: of each orientation that is evaluated.
        tile: the tile.
        number: the orientation.
    """

    def __init__(self, sweeps: Mapping[int, TileSweep], tile: Tile, number: int = 0) -> None:
        super().__init__()
        self.sweeps, self.tile, self.number = sweeps, tile, number

    def oriented(self, number: int) -> "TileEvaluator":
        """The sweep in another orientation."""
        return TileEvaluator(self.sweeps, self.tile, number)

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (1, 3, h, w) and the rest; see `TiledNetwork.forward`."""
        out = torch.zeros_like(x[:, :3])
        rows, columns = self.tile.inside
        out[:, :, rows, columns] = self.sweeps[self.number](self.tile, x, t, u, maps)
        return out


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Pads the right and bottom edges to the next multiple, by reflection if the image is large enough."""
    for dimension in (3, 2):
        size = x.shape[dimension]
        missing = -size % multiple
        if missing:
            pad = (0, missing, 0, 0) if dimension == 3 else (0, 0, 0, missing)
            x = F.pad(x, pad, mode="reflect" if missing < size else "replicate")
    return x


def _ceil(size: int, multiple: int) -> int:
    return math.ceil(size / multiple) * multiple


def _spans(size: int, tile: int, multiple: int, least: int = 1) -> list[slice]:
    """Splits a side into tiles of nearly equal size, at most `tile` pixels but at least `least`.

    All tiles start at multiples of `multiple`.
    """
    cells = math.ceil(size / multiple)
    count = max(min(math.ceil(cells / max(tile // multiple, 1)), size // least), 1) if tile < size else 1
    return [slice(span.start * multiple, min(span.stop * multiple, size)) for span in even(0, cells, count)]
