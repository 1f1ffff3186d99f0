"""ConvUNet: a fully convolutional network for images of any size."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Network

FREQUENCIES = 32
SCALES = 3  # of the continuation of known pixels: its coarsest cells are 8 pixels wide


class ConvUNet(Network):
    """U-Net of residual blocks without attention and without normalisation.

    Nothing in it is a statistic over the image, so an output pixel depends on the input within `halo` pixels of it and
    on nothing else: an image gives the same pixels whole and in tiles. Without normalisation layers restoration
    networks do better (EDSR, arXiv 1707.02921).
    """

    level_maps = True
    exact_tiles = True
    frequencies: Tensor

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 192),  # of each resolution, finest first
        blocks: tuple[int, ...] = (1, 1, 1),  # residual blocks a resolution, in the encoder and again in the decoder
        middle: int = 1,  # residual blocks between encoder and decoder
        embedding: int = 192,  # width of the embedding of t and u
        unshuffle: int = 2,  # the finest resolution is the image's divided by this
    ) -> None:
        super().__init__()
        if len(blocks) != len(channels):
            raise ValueError(f"{len(channels)} resolutions need as many numbers of blocks, not {len(blocks)}")
        image, maps = 3 * unshuffle**2, (2 + 3) * unshuffle**2
        levels = range(len(channels))
        self.unshuffle, self.blocks, self.middle_blocks = unshuffle, tuple(blocks), middle
        self.multiple = math.lcm(unshuffle * 2 ** (len(channels) - 1), 2**SCALES)
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(math.log(0.5), math.log(64.0), FREQUENCIES)), persistent=False
        )
        self.t_embedding = _embedding(embedding)
        self.u_embedding = _embedding(embedding)
        _zero(self.u_embedding[2])  # a network that has met t = u alone hears nothing of u
        self.entrance = nn.Conv2d(image + maps, channels[0], 3, padding=1)
        with torch.no_grad():  # a network that has not met level maps yet is the same function with and without them
            self.entrance.weight[:, image:] = 0
        self.encoder = nn.ModuleList([Stage(channels[i], embedding, blocks[i]) for i in levels])
        self.down = nn.ModuleList([nn.Conv2d(channels[i], channels[i + 1], 2, stride=2) for i in levels[:-1]])
        self.middle = Stage(channels[-1], embedding, middle)
        self.up = nn.ModuleList([nn.Conv2d(channels[i + 1], 4 * channels[i], 1) for i in levels[:-1]])
        self.decoder = nn.ModuleList([Stage(channels[i], embedding, blocks[i]) for i in levels[:-1]])
        self.exit = nn.Conv2d(channels[0], image, 3, padding=1)
        _zero(self.exit)

    @property
    def halo(self) -> int:
        """How far beyond an aligned border, in pixels, an output pixel sees; a multiple of `multiple`.

        From the exit back to the entrance: each 3x3 convolution adds a cell, a coarser grid rounds up to its own.
        """
        cells = [self.unshuffle * 2**i for i in range(len(self.blocks))]
        reach = cells[0]
        for cell, count in zip(cells[:-1], self.blocks, strict=False):
            reach = math.ceil((reach + 2 * count * cell) / (2 * cell)) * 2 * cell
        reach = math.ceil(reach / cells[-1]) * cells[-1] + 2 * self.middle_blocks * cells[-1]
        reach += sum(2 * count * cell for cell, count in zip(cells, self.blocks, strict=True)) + cells[0]
        return math.ceil(reach / self.multiple) * self.multiple

    @property
    def map_halo(self) -> int:
        """The halo where levels differ: what is known is seen from further away."""
        return self.halo + 4 * 2**SCALES

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """The raw network F(c_in x, t, u).

        Args:
            x: (B, 3, H, W), already scaled by c_in; H and W multiples of `multiple`.
            t: (B,) level of each image.
            u: (B,) level it goes to.
            maps: (B, 2, H, W), log t and log u of each pixel relative to the image's; None where they are uniform.

        Returns:
            (B, 3, H, W).
        """
        e, skips = self.embed(t, u), []
        inputs = self.inputs(x, maps)
        h = F.conv2d(inputs, self.entrance.weight[:, : inputs.shape[1]], self.entrance.bias, padding=1)
        for i, stage in enumerate(self.encoder):
            h = stage(h, e)
            if i < len(self.down):
                skips.append(h)
                h = self.down[i](h)
        h = self.middle(h, e)
        for i in reversed(range(len(self.decoder))):
            h = self.decoder[i](skips.pop() + F.pixel_shuffle(self.up[i](h), 2), e)
        return F.pixel_shuffle(self.exit(h), self.unshuffle)

    def embed(self, t: Tensor, u: Tensor) -> Tensor:
        """The embedding (B, E) of levels (B,)."""
        return F.silu(self.t_embedding(self._waves(t)) + self.u_embedding(self._waves(u)))

    def inputs(self, x: Tensor, maps: Tensor | None) -> Tensor:
        """What enters the first convolution: x and, where levels differ, the maps and the cleaner pixels' continuation.

        Planes that are zero elsewhere are left out; so are their weights.
        """
        if maps is not None:
            x = torch.cat([x, maps / 4, continuation(x, maps[:, :1])], 1)
        return F.pixel_unshuffle(x, self.unshuffle)

    def _waves(self, level: Tensor) -> Tensor:
        angle = torch.log(level)[:, None] * self.frequencies / 4
        return torch.cat([angle.sin(), angle.cos()], 1)


class Block(nn.Module):
    """x + conv(silu(conv(x) (1 + a) + b)), a and b from the embedding; the identity at the start of training."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        _zero(self.conv2)
        _zero(self.modulation)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and embedding e (B, E) to (B, C, H, W)."""
        scale, shift = self.modulate(e)
        return x + self.conv2(F.silu(torch.addcmul(shift, self.conv1(x), scale)))

    def modulate(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """1 + a and b, (B, C, 1, 1), from the embedding e (B, E)."""
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, 1)
        return 1 + scale, shift


class Stage(nn.ModuleList):
    """Blocks one after the other."""

    def __init__(self, channels: int, embedding: int, blocks: int) -> None:
        super().__init__([Block(channels, embedding) for _ in range(blocks)])

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and embedding e (B, E) to (B, C, H, W)."""
        for block in self:
            x = block(x, e)
        return x


def continuation(x: Tensor, relative: Tensor) -> Tensor:
    """The pixels that are cleaner than their image, continued into the others: what known pixels let expect in a hole.

    Shepard's interpolation by normalised convolution, with kernels twice as wide `SCALES` times and each a quarter as
    heavy as the one before. A pixel weighs 1 - level / image's level. Zero where no such pixel is near, and so
    everywhere at uniform levels.

    Args:
        x: (B, C, H, W), H and W multiples of 2^`SCALES`.
        relative: (B, 1, H, W), log of each pixel's level relative to the image's.

    Returns:
        (B, C, H, W).
    """
    weight = 1 - torch.exp(relative)
    weight = torch.where(weight > 1e-3, weight, 0.0)  # what rounding made of equal levels
    scales = [torch.cat([weight * x, weight], 1)]
    for _ in range(SCALES):
        scales.append(F.avg_pool2d(scales[-1], 2))
    total = _blur(scales[-1])
    for finer in reversed(scales[:-1]):
        total = _blur(finer) + _doubled(_doubled(total, 2), 3) / 4
    return total[:, :-1] / (total[:, -1:] + 1e-6)


def _doubled(x: Tensor, dimension: int) -> Tensor:
    """Twice as many pixels along a side, linearly interpolated; PyTorch's own rounds differently in small images."""
    first, last = x.narrow(dimension, 0, 1), x.narrow(dimension, -1, 1)
    inner = torch.diff(torch.cat([first, x, last], dimension), dim=dimension) / 4
    before, after = (inner.narrow(dimension, start, x.shape[dimension]) for start in (0, 1))
    return torch.stack([x - before, x + after], dimension + 1).flatten(dimension, dimension + 1)


def _blur(x: Tensor) -> Tensor:
    """Binomial 3x3 blur; nothing lies beyond the border."""
    return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)  # autocast leaves it in float32


def _embedding(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
