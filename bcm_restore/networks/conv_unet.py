"""ConvUNet: a fully convolutional network for images of any size."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Network
from .orientations import restore, restore_cells

FREQUENCIES = 32
SCALES = 3  # of the continuation of known pixels: the coarsest cells are 8 pixels wide


class ConvUNet(Network):
    """U-Net of residual blocks without attention and without normalisation.

    It has no statistics over the image: an output pixel depends only on input within `halo` pixels, so that an image
    gives the same pixels whole and in tiles. Restoration networks are also better without normalisation layers (EDSR,
    arXiv 1707.02921).
    """

    exact_tiles = True
    frequencies: Tensor

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 192),  # of each resolution, finest first
        blocks: tuple[int, ...] = (1, 1, 1),  # residual blocks per resolution, in both encoder and decoder
        middle: int = 1,  # residual blocks between encoder and decoder
        embedding: int = 192,  # width of the embedding of t and u
        unshuffle: int = 2,  # pixel unshuffle factor: the finest resolution is the image's divided by this
        condition: int = 0,  # channels of an image to condition on, after those of x; instead of level maps
    ) -> None:
        super().__init__()
        if len(blocks) != len(channels):
            raise ValueError(f"{len(channels)} channels but {len(blocks)} blocks; give one of each per resolution")
        image, maps = (3 + condition) * unshuffle**2, (0 if condition else 2 + 3) * unshuffle**2
        resolutions = range(len(channels))
        self.unshuffle, self.blocks, self.middle_blocks = unshuffle, tuple(blocks), middle
        self.level_maps = not condition
        self.multiple = math.lcm(unshuffle * 2 ** (len(channels) - 1), 2**SCALES)
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(math.log(0.5), math.log(64.0), FREQUENCIES)), persistent=False
        )
        self.t_embedding = _embedding(embedding)
        self.u_embedding = _embedding(embedding)
        _zero(self.u_embedding[2])  # so that a network trained at t = u ignores u
        self.entrance = nn.Conv2d(image + maps, channels[0], 3, padding=1)
        with torch.no_grad():  # so that a network trained without level maps ignores them
            self.entrance.weight[:, image:] = 0
        self.encoder = nn.ModuleList([Stage(channels[i], embedding, blocks[i]) for i in resolutions])
        self.down = nn.ModuleList([nn.Conv2d(channels[i], channels[i + 1], 2, stride=2) for i in resolutions[:-1]])
        self.middle = Stage(channels[-1], embedding, middle)
        self.up = nn.ModuleList([nn.Conv2d(channels[i + 1], 4 * channels[i], 1) for i in resolutions[:-1]])
        self.decoder = nn.ModuleList([Stage(channels[i], embedding, blocks[i]) for i in resolutions[:-1]])
        self.exit = nn.Conv2d(channels[0], 3 * unshuffle**2, 3, padding=1)
        _zero(self.exit)

    @property
    def halo(self) -> int:
        """The receptive field beyond an aligned border, in pixels; a multiple of `multiple`.

        Computed from the output back to the input: each 3x3 convolution adds a cell, and each coarser grid rounds up.
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
        """The halo with level maps: the continuation of known pixels reaches further."""
        return self.halo + 4 * 2**SCALES

    @torch.no_grad()
    def oriented(self, number: int) -> "ConvUNet":
        """The network that evaluates its input in another orientation: a copy with oriented kernels.

        Nothing else depends on the orientation: tiles, halos and the padding at the right and at the bottom stay as
        they are.
        """
        turned, side = copy.deepcopy(self), self.unshuffle
        for module in turned.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = restore(module.weight, number)
        entrance = turned.entrance.weight
        entrance.data = restore_cells(entrance.transpose(0, 1), side, number).transpose(0, 1)
        for layer, cell in ((turned.exit, side), *((up, 2) for up in turned.up)):
            for parameter in layer.parameters():
                parameter.data = restore_cells(parameter, cell, number)
        return turned.to(memory_format=torch.channels_last).requires_grad_(False)

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """The raw network F(c_in x, t, u).

        Args:
            x: (B, 3, H, W), already scaled by c_in; H and W multiples of `multiple`. With a condition, that follows in
                further channels.
            t: (B,) level of each image.
            u: (B,) target level of each image.
            maps: (B, 2, H, W), log t and log u of each pixel relative to the image's; None if levels are uniform.

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
        """The input of the first convolution: x and, with level maps, the maps and the continuation of cleaner pixels.

        Without level maps their planes would be zero, and are omitted together with their weights.
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
    """A sequence of blocks."""

    def __init__(self, channels: int, embedding: int, blocks: int) -> None:
        super().__init__([Block(channels, embedding) for _ in range(blocks)])

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and embedding e (B, E) to (B, C, H, W)."""
        for block in self:
            x = block(x, e)
        return x


def continuation(x: Tensor, relative: Tensor) -> Tensor:
    """Continues pixels that are cleaner than their image into the others: a prediction of a hole from known pixels.

    Shepard's interpolation by normalised convolution. The kernel is doubled in width `SCALES` times, each time with a
    quarter of the weight. A pixel's weight is 1 - level / image's level. The result is zero where no cleaner pixel is
    near, and so everywhere at uniform levels.

    Args:
        x: (B, C, H, W), H and W multiples of 2^`SCALES`.
        relative: (B, 1, H, W), log of each pixel's level relative to the image's.

    Returns:
        (B, C, H, W).
    """
    weight = 1 - torch.exp(relative)
    weight = torch.where(weight > 1e-3, weight, 0.0)  # equal levels up to rounding
    scales = [torch.cat([weight * x, weight], 1)]
    for _ in range(SCALES):
        scales.append(F.avg_pool2d(scales[-1], 2))
    total = _blur(scales[-1])
    for finer in reversed(scales[:-1]):
        total = _blur(finer) + _doubled(_doubled(total, 2), 3) / 4
    return total[:, :-1] / (total[:, -1:] + 1e-6)


def _doubled(x: Tensor, dimension: int) -> Tensor:
    """Doubles a side by linear interpolation; PyTorch's interpolation rounds differently in small images."""
    first, last = x.narrow(dimension, 0, 1), x.narrow(dimension, -1, 1)
    inner = torch.diff(torch.cat([first, x, last], dimension), dim=dimension) / 4
    before, after = (inner.narrow(dimension, start, x.shape[dimension]) for start in (0, 1))
    return torch.stack([x - before, x + after], dimension + 1).flatten(dimension, dimension + 1)


def _blur(x: Tensor) -> Tensor:
    """Binomial 3x3 blur with zero padding."""
    return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)  # autocast leaves it in float32


def _embedding(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
