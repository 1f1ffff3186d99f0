"""Any image size: a network evaluated whole, or in tiles that give the same pixels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .networks import AdmUNet, ConvUNet

# Peak memory of ConvUNet's activations on CPU, for each channel of its finest resolution and each pixel of the image:
# measured (4.7) at 1440x1440 with the default model, rounded up.
BYTES_PER_PIXEL_AND_CHANNEL = 5
MEMORY_BUDGET = 640 * 2**20


def spread(network: nn.Module, tile: int | None = None) -> nn.Module:
    """The network for any image size: in tiles if they give the same pixels as the whole, else in blended windows."""
    if isinstance(network, ConvUNet):
        return Canvas(network, tile)
    return Windows(network) if isinstance(network, AdmUNet) else network


class Canvas(nn.Module):
    """A network with the same call, for any height and width from one pixel up, in bounded memory.

    The image is padded to the network's multiple, and evaluated whole where its activations fit the budget. Else it is
    cut into tiles, each evaluated with a halo that covers the network's receptive field and cropped back, so that the
    pixels do not depend on the tile size.

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
        channels = network.entrance.out_channels
        self.pixels = budget // (BYTES_PER_PIXEL_AND_CHANNEL * channels)

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """F for x (B, 3, H, W), t and u (B,), maps (B, 2, H, W) or None; see the network's own forward."""
        height, width = x.shape[2:]
        halo = self.network.halo if maps is None else self.network.map_halo
        tile = self._tile(x, halo)
        if tile is None:
            return self._evaluate(x, t, u, maps)[:, :, :height, :width]
        out = torch.empty_like(x)
        for i in range(len(x)):
            level = slice(i, i + 1)
            for rows, outer_rows, inner_rows in _spans(height, tile, halo):
                for columns, outer_columns, inner_columns in _spans(width, tile, halo):
                    window = (level, slice(None), outer_rows, outer_columns)
                    result = self._evaluate(x[window], t[level], u[level], None if maps is None else maps[window])
                    out[level, :, rows, columns] = result[:, :, inner_rows, inner_columns]
        return out

    def _tile(self, x: Tensor, halo: int) -> int | None:
        """Side of the tiles; None to run whole."""
        multiple = self.network.multiple
        if self.tile is not None:
            return math.ceil(self.tile / multiple) * multiple
        if x.shape[0] * x.shape[2] * x.shape[3] <= self.pixels:
            return None
        side = math.isqrt(self.pixels) - 2 * halo
        return max(side // multiple, 2 * halo // multiple) * multiple

    def _evaluate(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None) -> Tensor:
        x = _pad(x, self.network.multiple)
        maps = None if maps is None else _pad(maps, self.network.multiple)
        return self.network(x.contiguous(memory_format=torch.channels_last), t, u, maps)


class Windows(nn.Module):
    """A network of one image size, with the same call, for any height and width: overlapping windows, blended.

    Every evaluation is blended, not just the last, so that windows agree all the way; they see parts of the same noise
    because x is cut into windows, whatever noise is in it. The weight of a window falls smoothly to its borders.

    Args:
        network: for images of `network.size`, such as AdmUNet.
        overlap: of neighbouring windows, in pixels, less than the size; None: a quarter of it.
        batch: windows evaluated at a time.
    """

    def __init__(self, network: AdmUNet, overlap: int | None = None, batch: int = 16) -> None:
        super().__init__()
        self.network, self.batch = network, batch
        self.overlap = network.size // 4 if overlap is None else overlap

    def forward(
        self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """F for x (B, 3, H, W), t, u and labels (B,); see the network's own forward."""
        height, width = x.shape[2:]
        size = self.network.size
        x = _extend(x, size)
        places = [
            (i, y, column)
            for i in range(len(x))
            for y in _starts(x.shape[2], size, self.overlap)
            for column in _starts(x.shape[3], size, self.overlap)
        ]
        weight = _bump(size, self.overlap).to(x)
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
        for n in range(0, len(places), self.batch):
            some = places[n : n + self.batch]
            images = [i for i, _, _ in some]
            cut = torch.stack([x[i, :, y : y + size, c : c + size] for i, y, c in some])
            own = None if labels is None else labels[images]
            out = self.network(cut.contiguous(memory_format=torch.channels_last), t[images], u[images], maps, own)
            for (i, y, c), pixels in zip(some, out, strict=True):
                total[i, :, y : y + size, c : c + size] += weight * pixels
                weights[i, :, y : y + size, c : c + size] += weight
        return (total / weights)[:, :, :height, :width]


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


def _bump(size: int, overlap: int) -> Tensor:
    """(size, size): 1 in the middle, falling to almost 0 over `overlap` pixels as a squared sine does."""
    edge = (torch.arange(size).minimum(torch.arange(size).flip(0)) + 0.5) / overlap
    side = torch.sin(edge.clamp(max=1) * torch.pi / 2) ** 2
    return side[:, None] * side[None, :]


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Extends the right and bottom edges to the next multiple, by reflection where the image is large enough."""
    for dimension in (3, 2):
        size = x.shape[dimension]
        missing = -size % multiple
        if missing:
            pad = (0, missing, 0, 0) if dimension == 3 else (0, 0, 0, missing)
            x = F.pad(x, pad, mode="reflect" if missing < size else "replicate")
    return x


def _spans(size: int, tile: int, halo: int) -> list[tuple[slice, slice, slice]]:
    """The tiles along one side: where each lies, where it lies with its halo, and where it lies inside the latter."""
    spans = []
    for start in range(0, size, tile):
        stop = min(start + tile, size)
        outer = max(start - halo, 0)
        spans.append(
            (slice(start, stop), slice(outer, min(stop + halo, size)), slice(start - outer, stop - outer)),
        )
    return spans
