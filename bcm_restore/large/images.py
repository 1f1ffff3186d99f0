"""Images that are read and written by regions: in memory, where they are one band, and on disk."""

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
    """An image that is read by regions, one band of rows after the other.

    Attributes:
        size: (H, W).
        device: where the regions are that are read.
        in_memory: all of it is one band.
    """

    size: tuple[int, int]
    device: torch.device | str
    in_memory = False

    @abstractmethod
    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """The region as (1, 3, h, w), or as (B, 3, h, w) of several images; not to be changed."""

    def bands(self, unit: int = 1) -> Iterable[slice]:
        """Its rows in bands, cut at multiples of `unit`."""
        return [slice(0, self.size[0])] if self.in_memory else spans.bands(self.size, unit)

    def middle(self, most: int, unit: int = 1) -> slice:
        """Rows in the middle, with about `most` pixels, that stand for all of them, cut at multiples of `unit`."""
        return slice(0, self.size[0]) if self.in_memory else spans.middle(self.size, most, unit)


class MemoryImage(BandImage):
    """Images (B, 3, H, W) in memory, which share that of `pixels`."""

    in_memory = True

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self.size, self.device = (pixels.shape[2], pixels.shape[3]), pixels.device

    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """The region, in the same memory."""
        return self.pixels[:, :, rows, columns]

    def write(self, part: Tensor, rows: slice, columns: slice = slice(None)) -> None:
        """Puts a region into its place."""
        self.pixels[:, :, rows, columns] = part

    def singly(self) -> "list[MemoryImage]":
        """Each of the images, in the same memory."""
        return [MemoryImage(one) for one in self.pixels.split(1)]


class DiskImage(BandImage):
    """A (3, H, W) float32 image in a temporary file, read and written by regions; zero at first.

    The file has no name, so that nothing is left of it however the process ends. It lies where `TMPDIR` says, and its
    room is taken at once: a disk that is too small is known before the work begins.

    Args:
        size: (H, W).
        device: where the regions are that are read.

    Raises:
        DiskFull: the disk is full; says where.
        RestoreError: no file can be made, read or written there.
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
        """The region as (1, 3, h, w), a copy."""
        (top, bottom, _), (left, right, _) = rows.indices(self.size[0]), columns.indices(self.size[1])
        part = torch.empty(_CHANNELS, bottom - top, right - left)
        with self._disk_errors():
            for place, values in self._runs(part, top, left):
                self._file.seek(place)
                while values:
                    count = self._file.readinto(values)
                    if not count:
                        raise OSError(errno.EIO, "it ends too early")
                    values = values[count:]
        return part[None].to(self.device)

    def write(self, part: Tensor, rows: slice, columns: slice = slice(None)) -> None:
        """Puts a region (1, 3, h, w) into its place."""
        top, left = rows.indices(self.size[0])[0], columns.indices(self.size[1])[0]
        with self._disk_errors():
            for place, values in self._runs(part[0].float().cpu().contiguous(), top, left):
                self._store(place, values)

    def singly(self) -> "list[DiskImage]":
        """Itself: it is one image."""
        return [self]

    def write_flat(self, start: int, values: Tensor) -> None:
        """Puts values (n,) into the places from `start` on, counted along (3, H, W)."""
        with self._disk_errors():
            self._store(start * _BYTES, _memory(values))

    def _runs(self, part: Tensor, top: int, left: int) -> Iterator[tuple[int, memoryview]]:
        """The bytes of a region (3, h, w) that lie one after the other in the file: where, and its memory for them."""
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

    def _store(self, place: int, values: memoryview) -> None:
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
                f"{self._folder}: no room for {self._bytes / 1e9:.2g} GB of a large picture ({reason}); "
                "free some space, or set TMPDIR to a folder with more"
            ) from error


def _memory(values: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, its own."""
    return values.numpy().data.cast("B")


def _reserve(file: int, count: int) -> None:
    """Has the file system set so many bytes aside, where it can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, count)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
