"""Any image size: a network evaluated whole, in tiles that give the same pixels, or in windows that are blended."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RestoreError
from .networks import AdmUNet, ConvUNet
from .networks.streaming import Stream

# Peak memory of ConvUNet's activations, for each channel of its finest resolution and each pixel of the image: measured
# (2.1 to 2.9) on CPU at 1240x1240 to 3000x3000 with the default model, rounded up for GPUs, which take it all at once.
BYTES_PER_PIXEL_AND_CHANNEL = 4
# More would be no faster on CPU, as it is further from the processor; a GPU is busier with more.
CPU_BUDGET = 256 * 2**20
GPU_BUDGET = 1152 * 2**20

# The same for AdmUNet and each pixel of its windows, measured (104) with four windows of the published network. That is
# as many as the budget holds: more were no faster, window for window (benchmarks/windows.md).
BYTES_PER_WINDOW_PIXEL_AND_CHANNEL = 104
WINDOWS_BUDGET = 320 * 2**20
MOST_WINDOWS = 128  # however much memory a GPU has: far below the 2**31 activations that kernels can index

LEAST_ROWS = 128  # of a tile: with fewer, convolutions of a few rows would add up in another order


class Cut(NamedTuple):
    """A tile of an image, and the region that the network has to see for it, which contains the tile."""

    rows: slice
    columns: slice
    seen_rows: slice
    seen_columns: slice

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the tile within what is seen."""
        pairs = (self.rows, self.seen_rows), (self.columns, self.seen_columns)
        rows, columns = (slice(own.start - seen.start, own.stop - seen.start) for own, seen in pairs)
        return rows, columns


Plan = tuple[int, list[Cut]]  # of an evaluation: how many images at a time, and their tiles
Result = TypeVar("Result")


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

    The image is padded to the network's multiple, and evaluated whole where its activations fit the budget. Else it
    goes through the network from the top to the bottom, a tile of all its columns at a time, nothing being computed
    twice; what is too wide for that is cut into columns of tiles, each with a halo at its sides that covers the
    network's receptive field. The pixels do not depend on the tile size: up to rounding, and on CPU to the last bit if
    picture and tiles are at least 128 pixels wide and high (convolutions of less may add up in another order).

    On CPU the images of a batch are evaluated one by one, which is faster and gives them the same bits in any batch.
    Where a GPU's memory does not do, it is fewer images at a time, then smaller tiles, until it does.

    Args:
        network: a ConvUNet.
        tile: side of the tiles in pixels, halo not counted; rounded up to the network's multiple, and to two of them
            at least. None: chosen from `budget`.
        budget: bytes that activations may take; None: `CPU_BUDGET` or `GPU_BUDGET`.
    """

    def __init__(self, network: ConvUNet, tile: int | None = None, budget: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.tile = tile
        self.budget = budget
        self.learnt: dict[torch.device, int] = {}  # pixels that a device had no memory for, halved

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (B, 3, H, W), t and u (B,), maps (B, 2, H, W) or None; see the network's own forward."""
        if torch.is_grad_enabled():
            return self._whole(x, t, u, maps)
        size, near, device = (x.shape[2], x.shape[3]), maps is not None, x.device
        return self.as_memory_allows(
            device,
            lambda: (min(self.at_once(*size, device), len(x)), self.cuts(size, near, device)),
            lambda plan: self._forward(x, t, u, maps, *plan),
        )

    def as_memory_allows(self, device: torch.device, plan: Callable[[], Plan], run: Callable[[Plan], Result]) -> Result:
        """What `run` gives for the first plan that the device has memory for; each is smaller than the one before.

        Raises:
            torch.OutOfMemoryError: there is no smaller one.
        """
        while True:
            images, cuts = tried = plan()
            try:
                return run(tried)
            except torch.OutOfMemoryError:
                failed = images * math.prod(seen.stop - seen.start for seen in cuts[0][2:])
                self.learnt[device] = min(self._most(device), failed) // 2
                if plan() == tried:
                    del self.learnt[device]  # the picture itself is too large: smaller ones may find room
                    raise

    def cuts(self, size: tuple[int, int], maps: bool, device: torch.device) -> list[Cut]:
        """The tiles of an image of `size` = (H, W), with or without maps, in the order of their evaluation.

        Args:
            size: of the image.
            maps: its levels differ.
            device: where it is.
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
            Cut(
                own,
                column,
                slice(max(own.start - above, 0), min(own.stop + halo, height)),
                slice(max(column.start - halo, 0), min(column.stop + halo, width)),
            )
            for column in columns
            for own in rows
        ]

    def at_once(self, height: int, width: int, device: torch.device) -> int:
        """How many images of that size are evaluated at a time."""
        if self.tile is not None or not _in_batches(device):
            return 1
        return max(self._most(device) // (height * width), 1)

    def _forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None, images: int, cuts: list[Cut]) -> Tensor:
        out = torch.empty_like(x)
        for start in range(0, len(x), images):
            batch, sweep = slice(start, start + images), Sweep(self, x.shape[2])
            for cut in cuts:
                window = (batch, slice(None), cut.seen_rows, cut.seen_columns)
                near = None if maps is None else maps[window]
                out[batch, :, cut.rows, cut.columns] = sweep(cut, x[window], t[batch], u[batch], near)
        return out

    def _whole(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None) -> Tensor:
        """With gradients, whose memory of all tiles is that of the whole."""
        images, multiple, size = self.at_once(x.shape[2], x.shape[3], x.device), self.network.multiple, x.shape[2:]
        padded = _pad(x, multiple).contiguous(memory_format=torch.channels_last).split(images)
        near = [None] * len(padded) if maps is None else _pad(maps, multiple).split(images)
        parts = zip(padded, t.split(images), u.split(images), near, strict=True)
        return torch.cat([self.network(*part) for part in parts])[:, :, : size[0], : size[1]]

    def _most(self, device: torch.device) -> int:
        """Pixels that are evaluated at a time on a device."""
        budget = self.budget or (GPU_BUDGET if _in_batches(device) else CPU_BUDGET)
        return self.learnt.get(device, budget // (BYTES_PER_PIXEL_AND_CHANNEL * self.network.entrance.out_channels))


class Sweep:
    """One evaluation of a canvas's network for an image, tile by tile.

    Args:
        canvas: whose `cuts` the tiles are.
        height: of the image.
    """

    _stream: Stream

    def __init__(self, canvas: Canvas, height: int) -> None:
        self._network = canvas.network
        self._height = height

    def __call__(self, cut: Cut, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for the next of the cuts, (B, 3, h, w), given x and maps of the region that is seen for it."""
        multiple = self._network.multiple
        if cut.rows.start == 0:
            self._stream = Stream(self._network, t, u, _ceil(self._height, multiple))
        x = _pad(x, multiple).contiguous(memory_format=torch.channels_last)
        maps = None if maps is None else _pad(maps, multiple)
        out = self._stream(x, maps, cut.seen_rows.start, _ceil(cut.rows.stop, multiple))
        return out[:, :, : cut.rows.stop - cut.rows.start, cut.inside[1]]


class Piece(nn.Module):
    """The network of a sweep for one cut, for the whole region that is seen: zero around the tile."""

    def __init__(self, sweep: Sweep, cut: Cut) -> None:
        super().__init__()
        self.sweep, self.cut = sweep, cut

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (1, 3, h, w) and the rest; see `Canvas.forward`."""
        out = torch.zeros_like(x)
        rows, columns = self.cut.inside
        out[:, :, rows, columns] = self.sweep(self.cut, x, t, u, maps)
        return out


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


def _ceil(size: int, multiple: int) -> int:
    return math.ceil(size / multiple) * multiple


def _spans(size: int, tile: int, multiple: int, least: int = 1) -> list[slice]:
    """The tiles along one side, as equal as they can be, of at most `tile` pixels if they need not have `least`.

    All begin at multiples of `multiple`.
    """
    cells = math.ceil(size / multiple)
    count = max(min(math.ceil(cells / max(tile // multiple, 1)), size // least), 1) if tile < size else 1
    borders = [min(cells * n // count * multiple, size) for n in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(borders)]


def _in_batches(device: torch.device) -> bool:
    """Whether images are evaluated together: on CPU that is slower, and rounds differently for each batch size."""
    return device.type != "cpu"
