"""Any image size: a network evaluated whole, in tiles that give the same pixels, or in windows that are blended."""

import contextlib
import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RestoreError
from .networks import AdmUNet, ConvUNet
from .networks.conv_unet import Margins

# Peak memory of ConvUNet's activations on CPU, for each channel of its finest resolution and each pixel of the image:
# measured (2.4 to 3.2, with level maps up to 3.4) at 1240x1240 to 1936x1936 with the default model, rounded up.
BYTES_PER_PIXEL_AND_CHANNEL = 4
MEMORY_BUDGET = 1152 * 2**20

# The same for a picture in files: more costs memory, less costs time for the halos of tiles.
PIECE_BUDGET = 512 * 2**20

# The same for AdmUNet and each pixel of its windows, measured (104) with four windows of the published network. That is
# as many as the budget holds: more were no faster, window for window (benchmarks/windows.md).
BYTES_PER_WINDOW_PIXEL_AND_CHANNEL = 104
WINDOWS_BUDGET = 320 * 2**20
MOST_WINDOWS = 128  # however much memory a GPU has: far below the 2**31 activations that kernels can index

# Of a tile along a side: where it lies, where with its halo, and the halo's two ends.
Span = tuple[slice, slice, tuple[int, int]]


def spread(network: nn.Module, tile: int | None = None, overlap: int | None = None) -> nn.Module:
    """The network for any image size: in tiles if they give the same pixels as the whole, else in blended windows.

    Args:
        network: a ConvUNet, an AdmUNet, or another, which is returned as it is.
        tile: of a ConvUNet, see `Canvas`.
        overlap: of an AdmUNet, see `Windows`.

    Raises:
        RestoreError: the overlap is out of its range, or what is given is for the other kind of network.
    """
    if isinstance(network, AdmUNet):
        if tile is not None:
            raise RestoreError("this model runs in windows of one size, not in tiles; leave the tile out")
        return Windows(network, overlap)
    if overlap is not None:
        raise RestoreError("this model runs in exact tiles, which don't blend; leave --overlap out")
    return Canvas(network, tile) if isinstance(network, ConvUNet) else network


class Canvas(nn.Module):
    """A network with the same call, for any height and width from one pixel up, in bounded memory.

    The image is padded to the network's multiple, and evaluated whole where its activations fit the budget. Else it is
    cut into tiles, each evaluated with a halo that covers the network's receptive field and returned without it, so
    that the pixels do not depend on the tile size: up to rounding, and on CPU to the last bit if picture and tiles are
    at least 128 pixels wide and high (convolutions of less may add up in another order).

    On CPU the images of a batch are evaluated one by one, which is faster and gives them the same bits in any batch.
    Where a GPU's memory does not do, it is fewer images at a time, then smaller tiles, until it does.

    Args:
        network: a ConvUNet.
        tile: side of the tiles in pixels, halo not counted; rounded up to the network's multiple. None: chosen from
            `budget`.
        budget: bytes that the activations of one evaluation may take.
    """

    def __init__(self, network: ConvUNet, tile: int | None = None, budget: int = MEMORY_BUDGET) -> None:
        super().__init__()
        self.network = network
        self.tile = tile
        self.pixels = budget // (BYTES_PER_PIXEL_AND_CHANNEL * network.entrance.out_channels)
        self.learnt: dict[torch.device, int] = {}  # pixels that a device had no memory for, halved

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (B, 3, H, W), t and u (B,), maps (B, 2, H, W) or None; see the network's own forward."""
        halo = self.network.halo if maps is None else self.network.map_halo
        while True:
            images, tile = plan = self._plan(x, halo)
            try:
                return self._forward(x, t, u, maps, halo, images, tile)
            except torch.OutOfMemoryError:
                failed = images * x.shape[2] * x.shape[3]
                self.learnt[x.device] = min(self.learnt.get(x.device, self.pixels), failed) // 2
                if self._plan(x, halo) == plan:
                    del self.learnt[x.device]  # the picture itself is too large: smaller ones may find room
                    raise

    def cuts(self, size: tuple[int, int], maps: bool) -> list[tuple[Span, Span]]:
        """The tiles for a `Piece` each of an image of `size` = (H, W), with or without maps: their rows and columns."""
        halo = self.network.map_halo if maps else self.network.halo
        pixels = PIECE_BUDGET // (BYTES_PER_PIXEL_AND_CHANNEL * self.network.entrance.out_channels)
        tile = self._side(min(self.pixels, pixels), halo)
        down, across = (_spans(side, tile, halo, self.network.multiple) for side in size)
        return list(itertools.product(down, across))

    def _forward(
        self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None, halo: int, images: int, tile: int
    ) -> Tensor:
        down, across = (_spans(side, tile, halo, self.network.multiple) for side in x.shape[2:])
        out = torch.empty_like(x)
        for start in range(0, len(x), images):
            batch = slice(start, start + images)
            for (rows, outer_rows, ends), (columns, outer_columns, sides) in itertools.product(down, across):
                window = (batch, slice(None), outer_rows, outer_columns)
                near = None if maps is None else maps[window]
                inner = self.evaluate(x[window], t[batch], u[batch], near, (*sides, *ends))
                place = out[batch, :, rows, columns]
                place.copy_(inner[:, :, : place.shape[2], : place.shape[3]])
        return out

    def _plan(self, x: Tensor, halo: int) -> tuple[int, int]:
        """How many images are evaluated at a time, and the side of their tiles, a multiple of the network's."""
        multiple, (height, width) = self.network.multiple, x.shape[2:]
        if self.tile is not None:
            return 1, self._side(self.pixels, halo)
        pixels = self.learnt.get(x.device, self.pixels)
        if height * width <= pixels:
            images = min(self.at_once(height, width, x.device), len(x))
            return images, math.ceil(max(height, width) / multiple) * multiple
        return 1, self._side(pixels, halo)

    def _side(self, pixels: int, halo: int) -> int:
        """Side of the tiles, a multiple of the network's, so that they have so many pixels with their halo."""
        multiple = self.network.multiple
        if self.tile is not None:
            return math.ceil(self.tile / multiple) * multiple
        side = math.isqrt(pixels) - 2 * halo
        return max(side // multiple, 2 * halo // multiple) * multiple

    def at_once(self, height: int, width: int, device: torch.device) -> int:
        """How many images of that size are evaluated at a time."""
        if self.tile is not None or not _in_batches(device):
            return 1
        return max(self.learnt.get(device, self.pixels) // (height * width), 1)

    def evaluate(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None, margins: Margins) -> Tensor:
        """The network's own result for any height and width, padded at the right and below; see its forward."""
        x = _pad(x, self.network.multiple)
        maps = None if maps is None else _pad(maps, self.network.multiple)
        return self.network(x.contiguous(memory_format=torch.channels_last), t, u, maps, margins)


class Piece(nn.Module):
    """A canvas's network for one of its `cuts`, given with its halo: right in the tile, and anything in its halo.

    Args:
        canvas: of the whole image.
        rows, columns: of the tile.
    """

    def __init__(self, canvas: Canvas, rows: Span, columns: Span) -> None:
        super().__init__()
        self.canvas, self.rows, self.columns = canvas, rows, columns

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (1, 3, h, w) and the rest; see `Canvas.forward`."""
        with contextlib.suppress(torch.OutOfMemoryError):
            inner = self.canvas.evaluate(x, t, u, maps, (*self.columns[2], *self.rows[2]))
            out = torch.zeros_like(x)
            place = out[:, :, inside(self.rows), inside(self.columns)]
            place.copy_(inner[:, :, : place.shape[2], : place.shape[3]])
            return out
        return self.canvas(x, t, u, maps)  # in smaller tiles


class Windows(nn.Module):
    """A network of one image size, with the same call, for any height and width: overlapping windows, blended.

    Every evaluation is blended, not just the last, so that windows agree all the way; they see parts of the same noise
    because x is cut into windows, whatever noise is in it. A window gives way to the next over all that they share:
    its weight falls smoothly to zero there, and the weights of all windows add up to 1 at every pixel.

    Args:
        network: for images of `network.size`, such as AdmUNet.
        overlap: pixels that neighbouring windows share at least, 0 (hard borders) to size - 1; None: a quarter of it.
        batch: windows evaluated at a time; None: as the memory allows. Halved where a GPU's memory does not do.

    Attributes:
        classes, size: the network's.

    Raises:
        RestoreError: the overlap is out of its range.
    """

    def __init__(self, network: AdmUNet, overlap: int | None = None, batch: int | None = None) -> None:
        super().__init__()
        if overlap is not None and not 0 <= overlap < network.size:
            raise RestoreError(
                f"windows of {network.size} pixels can't overlap by {overlap}; give --overlap 0 to {network.size - 1}"
            )
        self.network, self.batch = network, batch
        self.classes, self.size = network.classes, network.size
        self.overlap = network.size // 4 if overlap is None else overlap

    def forward(
        self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """F for x (B, 3, H, W), t, u and labels (B,); see the network's own forward."""
        height, width = x.shape[2:]
        size = self.network.size
        x = _extend(x, size)
        rows, columns = (_starts(side, size, self.overlap) for side in x.shape[2:])
        row_weights, column_weights = (_weights(starts, size).to(x) for starts in (rows, columns))
        places = list(itertools.product(range(len(x)), range(len(rows)), range(len(columns))))
        together = len(places) if _in_batches(x.device) else len(rows) * len(columns)
        batch = self.batch or _windows_at_once(self.network, x.device)
        out = torch.zeros_like(x)
        done = 0
        while done < len(places):
            stop = min(done + batch, done - done % together + together)
            images, down, across = (list(indices) for indices in zip(*places[done:stop], strict=True))
            windows = [
                (i, slice(None), slice(rows[r], rows[r] + size), slice(columns[c], columns[c] + size))
                for i, r, c in zip(images, down, across, strict=True)
            ]
            cut = torch.stack([x[window] for window in windows]).contiguous(memory_format=torch.channels_last)
            own = None if labels is None else labels[images]
            try:
                pixels = self.network(cut, t[images], u[images], maps, own)
            except torch.OutOfMemoryError:
                if len(windows) == 1:
                    raise
                self.batch = batch = len(windows) // 2
                continue
            weights = row_weights[down][:, None, :, None] * column_weights[across][:, None, None, :]
            for window, weighted in zip(windows, pixels * weights, strict=True):
                out[window] += weighted
            done = stop
        return out[:, :, :height, :width]

    def at_once(self, height: int, width: int, device: torch.device) -> int:
        """How many images of that size have their windows evaluated at a time."""
        if not _in_batches(device):
            return 1
        sides = (max(side, self.size) for side in (height, width))
        own = math.prod(len(_starts(side, self.size, self.overlap)) for side in sides)
        return max((self.batch or _windows_at_once(self.network, device)) // own, 1)


def _windows_at_once(network: AdmUNet, device: torch.device) -> int:
    """How many windows are evaluated together, 1 to `MOST_WINDOWS`: as many as fit the memory."""
    budget = WINDOWS_BUDGET
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for next time
        budget = (free + kept) // 2
    windows = budget // (BYTES_PER_WINDOW_PIXEL_AND_CHANNEL * network.channels * network.size**2)
    return min(max(windows, 1), MOST_WINDOWS)


def _extend(x: Tensor, size: int) -> Tensor:
    """x (B, 3, H, W) with sides of at least `size`, mirrored again and again where it is smaller."""
    while min(x.shape[2:]) < size:
        height, width = x.shape[2:]
        down, right = (min(max(size - side, 0), side - 1) for side in (height, width))
        if not down and not right:  # a side of one pixel has nothing to mirror
            return F.pad(x, (0, max(size - width, 0), 0, max(size - height, 0)), mode="replicate")
        x = F.pad(x, (0, right, 0, down), mode="reflect")
    return x


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Where windows of `size` begin along a side, evenly spread, neighbours sharing at least `overlap`."""
    count = 1 + math.ceil((length - size) / (size - overlap))
    return [round(n * (length - size) / max(count - 1, 1)) for n in range(count)]


def _weights(starts: list[int], size: int) -> Tensor:
    """(windows, size), the weights of windows along a side, which add up to 1 at each of its pixels."""
    weights = torch.ones(len(starts), size)
    for n, (start, following) in enumerate(itertools.pairwise(starts)):
        shared = start + size - following
        rise = torch.sin((torch.arange(shared) + 0.5) / max(shared, 1) * torch.pi / 2) ** 2
        weights[n + 1, :shared] *= rise
        weights[n, size - shared :] *= rise.flip(0)
    total = torch.zeros(starts[-1] + size)  # not 1 yet where more than two windows meet
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + size] += weight
    return torch.stack([weight / total[start : start + size] for start, weight in zip(starts, weights, strict=True)])


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Extends the right and bottom edges to the next multiple, by reflection where the image is large enough."""
    for dimension in (3, 2):
        size = x.shape[dimension]
        missing = -size % multiple
        if missing:
            pad = (0, missing, 0, 0) if dimension == 3 else (0, 0, 0, missing)
            x = F.pad(x, pad, mode="reflect" if missing < size else "replicate")
    return x


def _spans(size: int, tile: int, halo: int, multiple: int) -> list[Span]:
    """The tiles along one side, as equal as they can be.

    All are multiples of `multiple`; the last tile may end beyond the side.
    """
    cells = math.ceil(size / multiple)
    count = math.ceil(cells * multiple / tile)
    borders = [cells * n // count * multiple for n in range(count + 1)]
    spans = []
    for start, stop in itertools.pairwise(borders):
        before, after = min(halo, start), min(halo, borders[-1] - stop)
        spans.append((slice(start, stop), slice(start - before, stop + after), (before, after)))
    return spans


def inside(span: Span) -> slice:
    """Where a tile lies within itself with its halo."""
    own, outer, _ = span
    return slice(own.start - outer.start, own.stop - outer.start)


def _in_batches(device: torch.device) -> bool:
    """Whether images are evaluated together: on CPU that is slower, and rounds differently for each batch size."""
    return device.type != "cpu"
