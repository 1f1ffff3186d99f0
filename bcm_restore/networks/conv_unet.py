"""ConvUNet: a fully convolutional network for images of any size."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 32
SCALES = 3  # of the continuation of known pixels: its coarsest cells are 8 pixels wide

STRIP = 8 * 2**20  # bytes of the activations that are worked on at a time on CPU
ROWS = 8  # of a strip at least: convolutions of one or two may add up in another order
GRAIN = 32768  # numbers that PyTorch gives a thread at least
VECTORS = 64  # numbers that its loops take at a time, or a multiple of them

Margins = tuple[int, int, int, int]  # left, right, top and bottom, in pixels


class ConvUNet(nn.Module):
    """U-Net of residual blocks without attention and without normalisation.

    Nothing in it is a statistic over the image, so an output pixel depends on the input within `halo` pixels of it and
    on nothing else: an image gives the same pixels whole and in tiles. Without normalisation layers restoration
    networks do better (EDSR, arXiv 1707.02921).
    """

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
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return math.lcm(self.unshuffle * 2 ** len(self.down), 2**SCALES)

    @property
    def halo(self) -> int:
        """How far beyond an aligned border, in pixels, an output pixel sees; a multiple of `multiple`."""
        reach = self._reaches()[0][0] + self.unshuffle  # the entrance adds a cell
        return math.ceil(reach / self.multiple) * self.multiple

    @property
    def map_halo(self) -> int:
        """The halo where levels differ: what is known is seen from further away."""
        return self.halo + 4 * 2**SCALES

    def forward(
        self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None, margins: Margins = (0, 0, 0, 0)
    ) -> Tensor:
        """The raw network F(c_in x, t, u).

        Args:
            x: (B, 3, H, W), already scaled by c_in; H and W multiples of `multiple`.
            t: (B,) level of each image.
            u: (B,) level it goes to.
            maps: (B, 2, H, W), log t and log u of each pixel relative to the image's; None where they are uniform.
            margins: what of x is there to be seen alone, multiples of `multiple`: the result is that of the pixels
                inside, and of the margins each stage computes no more than they depend on.

        Returns:
            (B, 3, H - top - bottom, W - left - right).
        """
        cells, (encoder, middle, decoder) = self._cells(), self._reaches()
        e = F.silu(self.t_embedding(self._waves(t)) + self.u_embedding(self._waves(u)))
        h = self._enter(x, maps)
        skips = []
        for i, stage in enumerate(self.encoder):
            h, margins = _crop(h, margins, encoder[i], cells[i])
            h = stage(h, e)
            if i < len(self.down):
                skips.append((h, margins))
                h = self.down[i](h)
        h, margins = _crop(h, margins, middle, cells[-1])
        h = self.middle(h, e)
        for i in reversed(range(len(self.decoder))):
            h, _ = _crop(h, margins, decoder[i], cells[i + 1])
            skip, margins = _crop(*skips.pop(), decoder[i], cells[i])
            h = self.decoder[i](_joined(self.up[i], h, skip), e)
        return _crop(F.pixel_shuffle(self.exit(h), self.unshuffle), margins, 0, 1)[0]

    def _cells(self) -> list[int]:
        """Width in pixels of a cell of each resolution, finest first."""
        return [self.unshuffle * 2**i for i in range(len(self.blocks))]

    def _reaches(self) -> tuple[list[int], int, list[int]]:
        """How far, in pixels, the output sees into what enters each stage of the encoder, the middle and the decoder.

        From the exit back to the entrance: each 3x3 convolution adds a cell, a coarser grid rounds up to its own.
        """
        cells, decoder, encoder = self._cells(), [], []
        reach = cells[0]
        for cell, count in zip(cells[:-1], self.blocks[:-1], strict=True):
            reach = math.ceil((reach + 2 * count * cell) / (2 * cell)) * 2 * cell
            decoder.append(reach)
        reach = middle = math.ceil(reach / cells[-1]) * cells[-1] + 2 * self.middle_blocks * cells[-1]
        for cell, count in zip(reversed(cells), reversed(self.blocks), strict=True):
            reach += 2 * count * cell
            encoder.append(reach)
        return encoder[::-1], middle, decoder

    def _enter(self, x: Tensor, maps: Tensor | None) -> Tensor:
        """The first convolution: of x and, where levels differ, of the maps and the cleaner pixels' continuation."""
        if maps is not None:
            inputs = torch.cat([x, maps / 4, continuation(x, maps[:, :1])], 1)
            return self.entrance(F.pixel_unshuffle(inputs, self.unshuffle))
        x = F.pixel_unshuffle(x, self.unshuffle)  # planes of zeros would add nothing: leave their weights out
        return F.conv2d(x, self.entrance.weight[:, : x.shape[1]], self.entrance.bias, padding=1)

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
        """x (B, C, H, W) and embedding e (B, E) to (B, C, H, W), into x's memory unless gradients need it."""
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, 1)
        if torch.is_grad_enabled():
            return x + self.conv2(F.silu(torch.addcmul(shift, self.conv1(x), 1 + scale)))
        return self._by_strips(x, 1 + scale, shift)

    def _by_strips(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Makes the rows of h = silu(conv(x) scale + shift) that a strip's own convolution sees, then adds that to x.

        The next strip sees two of these rows again: they are kept, as the x that they were made of is gone.
        """
        (batch, channels, height, width), borders = x.shape, _strips(x)
        most = max(bottom - top for top, bottom in itertools.pairwise(borders)) + 2
        shape = batch, channels, most, width
        h = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        count = 0
        for top, bottom in itertools.pairwise(borders):
            first, stop, kept = max(top - 1, 0), min(bottom + 1, height), 2 if top else 0
            h[:, :, :kept] = h[:, :, count - kept : count].clone()
            count = stop - first
            fresh = h[:, :, kept:count]
            torch.addcmul(shift, _rows(self.conv1, x, first + kept, stop), scale, out=fresh)
            _silu(fresh)
            part = x[:, :, top:bottom]
            part += _rows(self.conv2, h[:, :, :count], top - first, bottom - first)
        return x


class Stage(nn.ModuleList):
    """Blocks one after the other."""

    def __init__(self, channels: int, embedding: int, blocks: int) -> None:
        super().__init__([Block(channels, embedding) for _ in range(blocks)])

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and embedding e (B, E) to (B, C, H, W), into x's memory unless gradients need it."""
        for block in self:
            x = block(x, e)
        return x


def _strips(x: Tensor) -> list[int]:
    """The borders of strips of rows of x (B, C, H, W); on a GPU it is one strip.

    What lies between two convolutions of a strip stays in the processor's cache, and in memory that is used again:
    fresh memory for the whole is slow, as the kernel zeroes it.
    """
    height, count = x.shape[2], x.numel() * x.element_size() // STRIP
    count = max(min(count, height // ROWS), 1) if x.device.type == "cpu" else 1
    return [height * n // count for n in range(count + 1)]


def _joined(up: nn.Module, h: Tensor, skip: Tensor) -> Tensor:
    """skip (B, C, 2H, 2W) + pixel_shuffle(up(h)), into skip's memory unless gradients need it."""
    if torch.is_grad_enabled():
        return F.pixel_shuffle(up(h), 2) + skip
    for top, bottom in itertools.pairwise(_strips(h)):
        part = skip[:, :, 2 * top : 2 * bottom]
        part += F.pixel_shuffle(up(h[:, :, top:bottom]), 2)
    return skip


def _rows(conv: nn.Conv2d, x: Tensor, top: int, bottom: int) -> Tensor:
    """Rows of the 3x3 convolution of x (B, C, H, W)."""
    above, below = min(top, 1), min(x.shape[2] - bottom, 1)
    x, inner = x[:, :, top - above : bottom + below], above and below
    h = F.conv2d(x, conv.weight, conv.bias, padding=(0 if inner else 1, 1))
    return h if inner else h[:, :, above : above + bottom - top]


def _silu(h: Tensor) -> None:
    """SiLU of (B, C, H, W) into its memory; on CPU the same bits for any number of threads.

    PyTorch gives each thread a part of the memory, and takes what is left there after whole vectors one by one, where
    exp is rounded differently. Here all parts are whole vectors, and what is left is left at the end.
    """
    if h.device.type != "cpu" or not h.is_contiguous(memory_format=torch.channels_last):
        F.silu(h, inplace=True)
        return
    flat = h.permute(0, 2, 3, 1).view(-1)
    parts = min(torch.get_num_threads(), math.ceil(len(flat) / GRAIN))
    even = len(flat) // (parts * VECTORS) * parts * VECTORS
    F.silu(flat[:even], inplace=True)
    F.silu(flat[even:], inplace=True)


def _crop(h: Tensor, margins: Margins, reach: int, cell: int) -> tuple[Tensor, Margins]:
    """h (B, C, H, W), of cells of `cell` pixels, and its margins, without what is further out than `reach` pixels."""
    left, right, top, bottom = (max(margin - reach, 0) // cell for margin in margins)
    a, b, c, d = (min(margin, reach) for margin in margins)
    return h[:, :, top : h.shape[2] - bottom, left : h.shape[3] - right], (a, b, c, d)


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
        total = _blur(finer) + F.interpolate(total, scale_factor=2.0, mode="bilinear") / 4
    return total[:, :-1] / (total[:, -1:] + 1e-6)


def _blur(x: Tensor) -> Tensor:
    """Binomial 3x3 blur; nothing lies beyond the border."""
    return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)  # autocast leaves it in float32


def _embedding(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
