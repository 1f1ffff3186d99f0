"""Evaluates a network of one image size on images of any size, in overlapping windows that are blended."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RestoreError
from .adm_unet import AdmUNet
from .base import Network, in_batches

# Peak memory of AdmUNet's activations, for each of its channels and each pixel of its windows: measured (104) with four
# windows of the published network. The budget holds four windows: more were no faster (benchmarks/windows.md).
BYTES_PER_WINDOW_PIXEL_AND_CHANNEL = 104
WINDOWS_BUDGET = 320 * 2**20
MOST_WINDOWS = 128  # on GPUs of any size: far below the 2**31 activations that kernels can index


class WindowedNetwork(Network):
    """Extends a network of one image size to any height and width, in overlapping windows that are blended.

    Every evaluation is blended, not just the last, so that windows stay consistent throughout a scheme; they share
    their noise, as they are cut from the noisy x. A window's weight falls smoothly to zero over its overlap with the
    next, and the weights of all windows sum to 1 at every pixel.

    Args:
        network: for images of `network.size`, such as AdmUNet.
        overlap: minimum overlap of neighbouring windows in pixels, 0 (hard borders) to size - 1; None: size / 4.
        batch: windows per batch; None: as many as fit the memory. Halved whenever GPU memory runs out.

    Attributes:
        classes, size: the network's.

    Raises:
        RestoreError: the overlap is out of range.
    """

    def __init__(self, network: AdmUNet, overlap: int | None = None, batch: int | None = None) -> None:
        super().__init__()
        if overlap is not None and not 0 <= overlap < network.size:
            raise RestoreError(
                f"windows of {network.size} pixels cannot overlap by {overlap}; give --overlap 0 to {network.size - 1}"
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
        together = len(places) if in_batches(x.device) else len(rows) * len(columns)
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
        """The number of images of that size whose windows fit in one batch."""
        if not in_batches(device):
            return 1
        size = self.network.size
        own = math.prod(len(_starts(max(side, size), size, self.overlap)) for side in (height, width))
        return max((self.batch or _windows_at_once(self.network, device)) // own, 1)


def _windows_at_once(network: AdmUNet, device: torch.device) -> int:
    """The number of windows per batch, 1 to `MOST_WINDOWS`: as many as fit the memory."""
    budget = WINDOWS_BUDGET
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # reusable by PyTorch
        budget = (free + cached) // 2
    windows = budget // (BYTES_PER_WINDOW_PIXEL_AND_CHANNEL * network.channels * network.size**2)
    return min(max(windows, 1), MOST_WINDOWS)


def _extend(x: Tensor, size: int) -> Tensor:
    """Pads x (B, 3, H, W) to sides of at least `size`, by repeated reflection."""
    while min(x.shape[2:]) < size:
        height, width = x.shape[2:]
        down, right = (min(max(size - side, 0), side - 1) for side in (height, width))
        if not down and not right:  # a side of one pixel cannot be reflected
            return F.pad(x, (0, max(size - width, 0), 0, max(size - height, 0)), mode="replicate")
        x = F.pad(x, (0, right, 0, down), mode="reflect")
    return x


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """The start positions of windows of `size` along a side, evenly spaced, overlapping by at least `overlap`."""
    count = 1 + math.ceil((length - size) / (size - overlap))
    return [round(n * (length - size) / max(count - 1, 1)) for n in range(count)]


def _weights(starts: list[int], size: int) -> Tensor:
    """The weights (windows, size) of windows along a side, which sum to 1 at each pixel."""
    weights = torch.ones(len(starts), size)
    for n, (start, following) in enumerate(itertools.pairwise(starts)):
        shared = start + size - following
        rise = torch.sin((torch.arange(shared) + 0.5) / max(shared, 1) * torch.pi / 2) ** 2
        weights[n + 1, :shared] *= rise
        weights[n, size - shared :] *= rise.flip(0)
    total = torch.zeros(starts[-1] + size)  # not yet 1 where more than two windows overlap
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + size] += weight
    return torch.stack([weight / total[start : start + size] for start, weight in zip(starts, weights, strict=True)])
