"""ConvUNet without gradients: an image goes through it from the top to the bottom, and nothing is computed twice."""

import itertools
import math
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spans import even
from .conv_unet import Block, ConvUNet

STRIP = 8 * 2**20  # bytes of the activations that are worked on at a time on CPU
ROWS = 8  # of a strip at least: convolutions of one or two may add up in another order
GRAIN = 32768  # numbers that PyTorch gives a thread at least
VECTORS = 64  # numbers that its loops take at a time, or a multiple of them


class Stream:
    """One evaluation of a ConvUNet, of an image that comes in bands of rows.

    Every convolution goes as far down as the rows above it allow, and waits for the next band. A row of a resolution
    stays in one place from the encoder to the decoder, and is worked on there: fresh memory is slow on CPU, as the
    kernel zeroes it, and what lies between two convolutions of a strip stays in the processor's cache.

    Args:
        network: whose raw result it is.
        t: (B,) level of each image.
        u: (B,) level it goes to.
        height: of the image, a multiple of the network's.
    """

    def __init__(self, network: ConvUNet, t: Tensor, u: Tensor, height: int) -> None:
        self._network, self._height = network, height
        e = network.embed(t, u)
        self._encoder = [_residuals(stage, e) for stage in network.encoder]
        self._middle = _residuals(network.middle, e)
        self._decoder = [_residuals(stage, e) for stage in network.decoder]
        self._levels = [_Rows() for _ in network.encoder]
        self._joined = [0 for _ in network.decoder]  # rows that the decoder has of each resolution
        self._done = 0  # rows of the finest resolution that have left

    def __call__(self, x: Tensor, maps: Tensor | None, top: int, bottom: int) -> Tensor:
        """The raw network for the rows from the last call's bottom to this one's.

        Args:
            x: (B, 3, h, W), already scaled by c_in: rows from `top` to `halo` below the bottom, or `map_halo` where
                levels differ, or to the end of the image. W is a multiple of the network's.
            maps: (B, 2, h, W), see `ConvUNet.forward`.
            top: the last call's bottom, or less; where levels differ, `map_halo` - `halo` less. A multiple of the
                network's, like the bottom.
            bottom: of the band.

        Returns:
            (B, 3, bottom - last bottom, W).
        """
        self._enter(x, maps, top)
        ready = self._levels[0].stop
        for i, stage in enumerate(self._encoder):
            if i:
                ready = self._down(i, ready)
            ready = self._advance(stage, i, ready)
        ready = self._advance(self._middle, len(self._levels) - 1, ready)
        for i in reversed(range(len(self._decoder))):
            ready = self._up(i, ready)
            ready = self._advance(self._decoder[i], i, ready)
        return self._exit(ready, bottom)

    def _enter(self, x: Tensor, maps: Tensor | None, top: int) -> None:
        """The entrance, for the rows that are seen now."""
        network, level = self._network, self._levels[0]
        cell, context = network.unshuffle, 0 if maps is None else network.map_halo - network.halo
        seen = top + x.shape[2]
        stop = (seen if seen == self._height else seen - context - cell) // cell
        first = max(level.stop * cell - cell - context - top, 0) // network.multiple * network.multiple
        inputs = network.inputs(x[:, :, first:], None if maps is None else maps[:, :, first:])
        offset, entrance = (top + first) // cell, network.entrance
        weight = entrance.weight[:, : inputs.shape[1]]  # planes of zeros would add nothing: their weights are left out
        size = len(x) * entrance.out_channels * inputs.shape[3] * x.element_size()
        level.extend(
            max(self._done - 1, 0),
            stop,
            (
                _convolved(weight, entrance.bias, inputs, a - offset, b - offset)
                for a, b in _strips(level.stop, stop, size, x.device)
            ),
        )

    def _down(self, i: int, ready: int) -> int:
        """Rows of a resolution, from those of the finer one up to `ready`; how many there are then."""
        finer, level, down = self._levels[i - 1], self._levels[i], self._network.down[i - 1]
        stop = ready // 2
        parts = _strips(level.stop, stop, 2 * finer.bytes, finer.device)
        level.extend(self._joined[i - 1] // 2, stop, (down(finer[2 * a : 2 * b]) for a, b in parts))
        return stop

    def _up(self, i: int, ready: int) -> int:
        """Adds the rows of the coarser resolution up to `ready` to those of the finer one; how many have it then."""
        level, coarser, up = self._levels[i], self._levels[i + 1], self._network.up[i]
        for a, b in _strips(self._joined[i] // 2, ready, 2 * level.bytes, level.device):
            part = level[2 * a : 2 * b]
            part += F.pixel_shuffle(up(coarser[a:b]), 2)
        self._joined[i] = 2 * ready
        return 2 * ready

    def _advance(self, blocks: "list[_Residual]", i: int, ready: int) -> int:
        """A stage, for the rows that let it go on; how many have passed it then."""
        end = self._height // (self._network.unshuffle * 2**i)
        for block in blocks:
            ready = block.advance(self._levels[i], ready, end)
        return ready

    def _exit(self, ready: int, bottom: int) -> Tensor:
        """The last convolution, to the band's end."""
        level, out, cell = self._levels[0], self._network.exit, self._network.unshuffle
        start, stop = self._done, bottom // cell
        first = max(start - 1, 0)
        x = level[first:ready]
        parts = [
            F.pixel_shuffle(_convolved(out.weight, out.bias, x, a - first, b - first), cell)
            for a, b in _strips(start, stop, level.bytes, level.device)
        ]
        self._done = stop
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


class _Rows:
    """Consecutive rows of a resolution, (B, C, rows, W), which are known by their numbers.

    Attributes:
        stop: number of the row after the last.
    """

    _memory: Tensor

    def __init__(self) -> None:
        self._start = self.stop = 0

    def __getitem__(self, rows: slice) -> Tensor:
        return self._memory[:, :, rows.start - self._start : rows.stop - self._start]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._memory.device

    @property
    def bytes(self) -> int:
        """Of one row."""
        return self._memory[:, :, 0].numel() * self._memory.element_size()

    def extend(self, first: int, stop: int, strips: Iterator[Tensor]) -> None:
        """Appends strips, up to row `stop`, and forgets the rows before `first`."""
        if stop == self.stop:
            return
        strip, count = next(strips), stop - first
        if strip.shape[2] == count:  # all there is
            self._memory = strip
        else:
            kept = self._forget(first, count, strip)
            for part in itertools.chain([strip], strips):
                self._memory[:, :, kept : kept + part.shape[2]] = part
                kept += part.shape[2]
        self._start, self.stop = first, stop

    def _forget(self, first: int, count: int, like: Tensor) -> int:
        """Room for so many rows, with those from `first` on at its beginning; how many these are."""
        kept = self.stop - first
        old = self[first : self.stop] if kept else None
        if not self.stop or self._memory.shape[2] < count:
            self._memory = _empty(like, count + 1)  # a row for the exit, which looks up
        elif first - self._start < kept and old is not None:
            old = old.clone()  # it lies in its own way
        if old is not None:
            self._memory[:, :, :kept] = old
        return kept


class _Residual:
    """A block, x + conv(h) with h = silu(conv(x) scale + shift), in the place of x.

    What is added to a row is made of the rows of h above and below it. The two last rows of h are kept, as the x that
    they were made of is gone.
    """

    def __init__(self, block: Block, e: Tensor) -> None:
        self._block, self._done = block, 0
        self._scale, self._shift = block.modulate(e)
        self._above: Tensor | None = None

    def advance(self, rows: _Rows, ready: int, end: int) -> int:
        """Makes the rows that it can, of `ready` rows of x; how many are made then: all if x ends there."""
        start, stop = self._done, ready if ready == end else ready - 2
        if stop <= start:
            return start
        x, conv1, conv2 = rows[start:ready], self._block.conv1, self._block.conv2
        borders = _strips(0, stop - start, rows.bytes, x.device)
        most = max(bottom - top for top, bottom in borders) + 2
        h = _empty(x, most)
        for top, bottom in borders:
            first, last, kept = top - 1, min(bottom + 1, x.shape[2]), 2
            if self._above is None:
                first = kept = 0
            else:
                h[:, :, :2] = self._above
            count = last - first
            fresh = h[:, :, kept:count]
            mixed = _convolved(conv1.weight, conv1.bias, x, first + kept, last)
            torch.addcmul(self._shift, mixed, self._scale, out=fresh)
            _silu(fresh)
            part = x[:, :, top:bottom]
            part += _convolved(conv2.weight, conv2.bias, h[:, :, :count], top - first, bottom - first)
            self._above = h[:, :, max(count - 2, 0) : count].clone()
        self._done = stop
        return stop


def _residuals(stage: nn.Module, e: Tensor) -> list[_Residual]:
    return [_Residual(cast(Block, block), e) for block in stage.children()]


def _empty(like: Tensor, rows: int) -> Tensor:
    """Memory for so many rows of (B, C, H, W)."""
    batch, channels, _, width = like.shape
    shape = batch, channels, rows, width
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _strips(start: int, stop: int, size: int, device: torch.device) -> list[tuple[int, int]]:
    """The rows from `start` to `stop`, each of `size` bytes, in strips; on a GPU it is one strip."""
    height = stop - start
    if not height:
        return []
    count = max(min(height * size // STRIP, height // ROWS), 1) if device.type == "cpu" else 1
    return [(span.start, span.stop) for span in even(start, stop, count)]


def _convolved(weight: Tensor, bias: Tensor | None, x: Tensor, top: int, bottom: int) -> Tensor:
    """Rows of the 3x3 convolution of x (B, C, H, W)."""
    above, below = min(top, 1), min(x.shape[2] - bottom, 1)
    x, inner = x[:, :, top - above : bottom + below], above and below
    h = F.conv2d(x, weight, bias, padding=(0 if inner else 1, 1))
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
