"""Images that are read and written by region, in memory (as one band) or on disk."""

import contextlib
import errno
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType

import torch
from torch import Tensor

from .. import spans
from ..errors import DiskFull, RestoreError

_CHANNELS, _BYTES = 3, 4


class BandImage(ABC):
    """An image that is read by region, usually in bands of rows.

    Attributes:
        size: (H, W).
        device: of the regions that `read` returns.
        in_memory: the whole image is one band.
    """

    size: tuple[int, int]
    device: torch.device | str
    in_memory = False

    @abstractmethod
    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """The region as (1, 3, h, w), or (B, 3, h, w) of several images; do not modify it."""

    def bands(self, unit: int = 1) -> Iterable[slice]:
        """Bands that cover the rows, cut at multiples of `unit`."""
        return [slice(0, self.size[0])] if self.in_memory else spans.bands(self.size, unit)

    def middle(self, most: int, unit: int = 1) -> slice:
        """A sample of rows from the middle, with about `most` pixels, cut at multiples of `unit`."""
        return slice(0, self.size[0]) if self.in_memory else spans.middle(self.size, most, unit)


class MemoryImage(BandImage):
    """Images (B, 3, H, W) in memory, a view of `pixels`."""

    in_memory = True

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self.size, self.device = (pixels.shape[2], pixels.shape[3]), pixels.device

    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """A view of the region."""
        return self.pixels[:, :, rows, columns]

    def write(self, part: Tensor, rows: slice, columns: slice = slice(None)) -> None:
        """Writes a region."""
        self.pixels[:, :, rows, columns] = part

    def split(self) -> "list[MemoryImage]":
        """Views of the single images."""
        return [MemoryImage(one) for one in self.pixels.split(1)]


class DiskImage(BandImage):
    """A (3, H, W) float32 image in a temporary file, read and written by region; initially zero.

    The file is in `TMPDIR` and has no name, so that it is deleted however the process ends. Its space is reserved at
    once, so that a full disk is an error before the work begins.

    Args:
        size: (H, W).
        device: of the regions that `read` returns.

    Raises:
        DiskFull: the disk is full; names the folder.
        RestoreError: the file cannot be created, read or written.
    """

    _folder = "TMPDIR"

    def __init__(self, size: tuple[int, int], device: torch.device | str = "cpu") -> None:
        self.size, self.device = size, device
        self._bytes = _CHANNELS * size[0] * size[1] * _BYTES
        with self._disk_errors():
            self._folder = tempfile.gettempdir()
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        try:
            with self._disk_errors():
                self._file.truncate(self._bytes)
                _reserve(self._file.fileno(), self._bytes)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "DiskImage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """A copy of the region, (1, 3, h, w)."""
        (top, bottom, _), (left, right, _) = rows.indices(self.size[0]), columns.indices(self.size[1])
        part = torch.empty(_CHANNELS, bottom - top, right - left)
        with self._disk_errors():
            for place, values in self._contiguous(part, top, left):
                self._file.seek(place)
                while values:
                    count = self._file.readinto(values)
                    if not count:
                        raise OSError(errno.EIO, "the file is truncated")
                    values = values[count:]
        return part[None].to(self.device)

    def write(self, part: Tensor, rows: slice, columns: slice = slice(None)) -> None:
        """Writes a region (1, 3, h, w)."""
        top, left = rows.indices(self.size[0])[0], columns.indices(self.size[1])[0]
        with self._disk_errors():
            for place, values in self._contiguous(part[0].float().cpu().contiguous(), top, left):
                self._write_bytes(place, values)

    def split(self) -> "list[DiskImage]":
        """This single image."""
        return [self]

    def write_flat(self, start: int, values: Tensor) -> None:
        """Writes values (n,) from index `start` of the flattened (3, H, W)."""
        with self._disk_errors():
            self._write_bytes(start * _BYTES, _memory(values))

    def _contiguous(self, part: Tensor, top: int, left: int) -> Iterator[tuple[int, memoryview]]:
        """The parts of a region (3, h, w) that are contiguous in the file: their offsets and memory."""
        memory = _memory(part)
        channels, rows, columns = part.shape
        height, width = self.size
        if columns == width:
            rows, columns = 1, rows * width
        length = columns * _BYTES
        for channel in range(channels):
            for row in range(rows):
                start = (channel * rows + row) * length
                yield ((channel * height + top + row) * width + left) * _BYTES, memory[start : start + length]

    def _write_bytes(self, place: int, values: memoryview) -> None:
        self._file.seek(place)
        while values:
            values = values[self._file.write(values) :]

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else (error.strerror or str(error)).lower()
            raise (DiskFull if full else RestoreError)(
                f"{self._folder}: no space for {self._bytes / 1e9:.2g} GB of a large picture ({reason}); "
                "free some space, or set TMPDIR to a folder with more"
            ) from error


def _memory(values: Tensor) -> memoryview:
    """The memory of a contiguous tensor as bytes, without a copy."""
    return values.numpy().data.cast("B")


def _reserve(file: int, count: int) -> None:
    """Reserves `count` bytes for the file, if the file system supports it."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, count)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
