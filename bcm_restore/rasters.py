"""Images that live in a file while they are worked on: those of a hundred megapixels do not fit the memory."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from types import TracebackType

import torch
from torch import Tensor

from .errors import DiskFull, RestoreError

LARGE = 8_000_000
"""Pixels of a result above which it is worked on in files; the same everywhere, as results may differ by a rounding."""

BAND_PIXELS = 1 << 21
_CHANNELS, _BYTES = 3, 4


class Raster:
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
        with self._room():
            self._folder = tempfile.gettempdir()
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        try:
            with self._room():
                self._file.truncate(self._bytes)
                _take_room(self._file.fileno(), self._bytes)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Raster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """The region as (1, 3, h, w), a copy."""
        (top, bottom, _), (left, right, _) = rows.indices(self.size[0]), columns.indices(self.size[1])
        part = torch.empty(_CHANNELS, bottom - top, right - left)
        with self._room():
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
        with self._room():
            for place, values in self._runs(part[0].float().cpu().contiguous(), top, left):
                self._store(place, values)

    def write_flat(self, start: int, values: Tensor) -> None:
        """Puts values (n,) into the places from `start` on, counted along (3, H, W)."""
        with self._room():
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
    def _room(self) -> Iterator[None]:
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


def _take_room(file: int, count: int) -> None:
    """Has the file system set so many bytes aside, where it can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, count)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def bands(size: tuple[int, int], unit: int = 1) -> Iterator[slice]:
    """The rows of an image of `size` = (H, W) in bands of about `BAND_PIXELS`, cut at multiples of `unit`."""
    height, width = size
    step = max(BAND_PIXELS // width // unit, 1) * unit
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def middle(size: tuple[int, int], most: int, unit: int = 1) -> slice:
    """Rows in the middle of an image of `size` = (H, W), with about `most` pixels, cut at multiples of `unit`."""
    height, width = size
    rows = max(most // max(width, 1) // unit, 1) * unit
    start = max(height - rows, 0) // 2 // unit * unit
    return slice(start, min(start + rows, height))


def tiles(size: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    """The rows and columns of tiles of at most `side` pixels a side, one row of tiles after the other."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            yield slice(top, min(top + side, size[0])), slice(left, min(left + side, size[1]))


def widened(span: slice, reach: int, length: int) -> tuple[slice, slice]:
    """A span with up to `reach` more at both ends, inside 0 to `length`; and where the span lies in that."""
    start, stop = max(span.start - reach, 0), min(span.stop + reach, length)
    return slice(start, stop), slice(span.start - start, span.stop - start)
