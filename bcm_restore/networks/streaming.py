"""Streaming inference of ConvUNet: an image is evaluated from top to bottom, and nothing is computed twice."""

import itertools
import math
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spans import even
from .conv_unet import Block, ConvUNet

STRIP = 8 * 2**20  # bytes of the activations that are computed at a time on CPU
ROWS = 8  # the minimum of a strip: convolutions of one or two rows may sum in another order
GRAIN = 32768  # the minimum of numbers that PyTorch gives a thread
VECTORS = 64  # a multiple of the numbers that its vectorised loops process at a time


class Stream:
    """One evaluation of a ConvUNet on an image that arrives in bands of rows.

    Every convolution computes as many rows as its input allows, and waits for the next band. The rows of a resolution
    are updated in place from the encoder to the decoder: newly allocated memory is slow on CPU, as the kernel zeroes
    it, and the activations between two convolutions of a strip stay in the processor's cache.

    Args:
        network: the network, without gradients.
        t: (B,) level of each image.
        u: (B,) target level of each image.
        height: of the image, a multiple of the network's.
    """

    def __init__(self, network: ConvUNet, t: Tensor, u: Tensor, height: int) -> None:
        self._network, self._height = network, height
        e = network.embed(t, u)
        self._encoder = [_residuals(stage, e) for stage in network.encoder]
        self._middle = _residuals(network.middle, e)
        self._decoder = [_residuals(stage, e) for stage in network.decoder]
        self._resolutions = [_Rows() for _ in network.encoder]
        self._joined = [0 for _ in network.decoder]  # rows of each resolution that the decoder has received
        self._done = 0  # rows of the finest resolution that have been output

    def __call__(self, x: Tensor, maps: Tensor | None, top: int, bottom: int) -> Tensor:
        """The output of the raw network for the rows from the last call's bottom to this one's.

        Args:
            x: (B, 3, h, W), already scaled by c_in: rows from `top` to `halo` below the bottom, or `map_halo` with
                level maps, or to the end of the image. W is a multiple of the network's.
            maps: (B, 2, h, W), see `ConvUNet.forward`.
            top: at most the last call's bottom; with level maps, `map_halo` - `halo` less. A multiple of the network's,
                like the bottom.
            bottom: of the band.

        Returns:
            (B, 3, bottom - last bottom, W).
        """
        self._enter(x, maps, top)
        ready = self._resolutions[0].stop
        for i, stage in enumerate(self._encoder):
            if i:
                ready = self._down(i, ready)
            ready = self._advance(stage, i, ready)
        ready = self._advance(self._middle, len(self._resolutions) - 1, ready)
        for i in reversed(range(len(self._decoder))):
            ready = self._up(i, ready)
            ready = self._advance(self._decoder[i], i, ready)
        return self._exit(ready, bottom)

    def _enter(self, x: Tensor, maps: Tensor | None, top: int) -> None:
        """Computes the first convolution for the rows that have arrived."""
        network, finest = self._network, self._resolutions[0]
        cell, context = network.unshuffle, 0 if maps is None else network.map_halo - network.halo
        seen = top + x.shape[2]
        stop = (seen if seen == self._height else seen - context - cell) // cell
        first = max(finest.stop * cell - cell - context - top, 0) // network.multiple * network.multiple
        inputs = network.inputs(x[:, :, first:], None if maps is None else maps[:, :, first:])
        offset, entrance = (top + first) // cell, network.entrance
        weight = entrance.weight[:, : inputs.shape[1]]  # without those of the omitted zero planes
        size = len(x) * entrance.out_channels * inputs.shape[3] * x.element_size()
        finest.extend(
            max(self._done - 1, 0),
            stop,
            (
                _convolved(weight, entrance.bias, inputs, a - offset, b - offset)
                for a, b in _strips(finest.stop, stop, size, x.device)
            ),
        )

    def _down(self, i: int, ready: int) -> int:
        """Downsamples the rows of the finer resolution up to `ready`; returns the number of rows that are ready."""
        finer, coarser, down = self._resolutions[i - 1], self._resolutions[i], self._network.down[i - 1]
        stop = ready // 2
        parts = _strips(coarser.stop, stop, 2 * finer.bytes, finer.device)
        coarser.extend(self._joined[i - 1] // 2, stop, (down(finer[2 * a : 2 * b]) for a, b in parts))
        return stop

    def _up(self, i: int, ready: int) -> int:
        """Adds the rows of the coarser resolution up to `ready` to the finer one; returns the number that are ready."""
        finer, coarser, up = self._resolutions[i], self._resolutions[i + 1], self._network.up[i]
        for a, b in _strips(self._joined[i] // 2, ready, 2 * finer.bytes, finer.device):
            part = finer[2 * a : 2 * b]
            part += F.pixel_shuffle(up(coarser[a:b]), 2)
        self._joined[i] = 2 * ready
        return 2 * ready

    def _advance(self, blocks: "list[_Residual]", i: int, ready: int) -> int:
        """Computes a stage for the `ready` rows; returns the number that are ready for the next."""
        end = self._height // (self._network.unshuffle * 2**i)
        for block in blocks:
            ready = block.advance(self._resolutions[i], ready, end)
        return ready

    def _exit(self, ready: int, bottom: int) -> Tensor:
        """Computes the last convolution, to the band's end."""
        finest, out, cell = self._resolutions[0], self._network.exit, self._network.unshuffle
        start, stop = self._done, bottom // cell
        first = max(start - 1, 0)
        x = finest[first:ready]
        parts = [
            F.pixel_shuffle(_convolved(out.weight, out.bias, x, a - first, b - first), cell)
            for a, b in _strips(start, stop, finest.bytes, finest.device)
        ]
        self._done = stop
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


class _Rows:
    """A sliding window of rows of a resolution, (B, C, rows, W), indexed by their row numbers in the image.

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
        """The device of the rows."""
        return self._memory.device

    @property
    def bytes(self) -> int:
        """The size of one row."""
        return self._memory[:, :, 0].numel() * self._memory.element_size()

    def extend(self, first: int, stop: int, strips: Iterator[Tensor]) -> None:
        """Appends strips, up to row `stop`, and discards the rows before `first`."""
        if stop == self.stop:
            return
        strip, count = next(strips), stop - first
        if strip.shape[2] == count:  # no other rows
            self._memory = strip
        else:
            kept = self._discard(first, count, strip)
            for part in itertools.chain([strip], strips):
                self._memory[:, :, kept : kept + part.shape[2]] = part
                kept += part.shape[2]
        self._start, self.stop = first, stop

    def _discard(self, first: int, count: int, like: Tensor) -> int:
        """Moves the rows from `first` on to the start of memory for `count` rows; returns their number."""
        kept = self.stop - first
        old = self[first : self.stop] if kept else None
        if not self.stop or self._memory.shape[2] < count:
            self._memory = _empty(like, count + 1)  # with the row above that the last convolution needs
        elif first - self._start < kept and old is not None:
            old = old.clone()  # source and target overlap
        if old is not None:
            self._memory[:, :, :kept] = old
        return kept


class _Residual:
    """A block, x + conv(h) with h = silu(conv(x) scale + shift), in place of x.

    The sum for a row needs the rows of h above and below it. The last two rows of h are kept, as the x that they
    depend on has been overwritten.
    """

    def __init__(self, block: Block, e: Tensor) -> None:
        self._block, self._done = block, 0
        self._scale, self._shift = block.modulate(e)
        self._above: Tensor | None = None

    def advance(self, rows: _Rows, ready: int, end: int) -> int:
        """Computes as many rows as `ready` rows of x allow (all if x ends there); returns their number."""
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
    """Memory for `rows` rows of (B, C, H, W)."""
    batch, channels, _, width = like.shape
    shape = batch, channels, rows, width
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _strips(start: int, stop: int, size: int, device: torch.device) -> list[tuple[int, int]]:
    """Splits the rows from `start` to `stop`, each of `size` bytes, into strips; on a GPU into a single one."""
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
    """Applies SiLU to (B, C, H, W) in place; on CPU the result is bit-identical for any number of threads.

    PyTorch splits the memory between threads, and processes the remainder after whole vectors of each part one by one,
    where exp rounds differently. Here all parts are whole vectors, and only the end has a remainder.
    """
    if h.device.type != "cpu" or not h.is_contiguous(memory_format=torch.channels_last):
        F.silu(h, inplace=True)
        return
    flat = h.permute(0, 2, 3, 1).view(-1)
    parts = min(torch.get_num_threads(), math.ceil(len(flat) / GRAIN))
    even = len(flat) // (parts * VECTORS) * parts * VECTORS
    F.silu(flat[:even], inplace=True)
    F.silu(flat[even:], inplace=True)
