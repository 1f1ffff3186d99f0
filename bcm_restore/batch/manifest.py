"""The manifest beside the outputs: a line for each picture, so that the next run knows which are complete."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from .. import __version__
from ..errors import RestoreError
from ..files import explained, is_remote, put
from .claims import Claim, file_lock
from .outcomes import Status

NAME = ".bcm-restore.jsonl"
LOCK = ".bcm-restore.lock"  # held by one of the runs that write to the folder
CLAIMS = ".bcm-restore.claims"  # a folder of locks: one for each output that is being made, and one for the manifest

COMPLETE = (Status.RESTORED, Status.COPIED, Status.SKIPPED)

PAUSE = 10.0  # seconds between two writes of a manifest that can only be written as a whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Everything that a result depends on.

    Attributes:
        input: the picture's path, relative to the folder that was given.
        sha256: of the picture's file.
        mask_sha256: of its mask's file, if it has one.
        task: name of the task.
        model: SHA-256 of the model's file.
        seed: of the noise.
        settings: digest of the scheme and of all other options.
    """

    input: str
    sha256: str
    mask_sha256: str | None
    task: str
    model: str
    seed: int
    settings: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Origin):
    """One line of a manifest: the outcome of a picture, and its origin.

    Attributes:
        output: the result's path, relative to the manifest's folder, with /.
        output_sha256, compare_sha256: of the files that were written; None for those that were not.
        status, seconds, scheme, nfe, case, size, mse, remark, error: see `Outcome`.
        version: of this package.
    """

    output: str
    output_sha256: str | None
    compare_sha256: str | None
    status: Status
    seconds: float
    scheme: str | None = None
    nfe: int | None = None
    case: str | None = None
    size: tuple[int, int] | None = None
    mse: float | None = None
    remark: str | None = None
    error: str | None = None
    version: str = __version__


_FIELDS = {field.name for field in dataclasses.fields(Record)}


class Records:
    """The known records of the outputs of a folder.

    Args:
        folder: need not exist.
        records: of some of its outputs.
    """

    def __init__(self, folder: Path, records: Iterable[Record] = ()) -> None:
        self.folder = folder
        self._records = {record.output: record for record in records}
        self._lock = threading.RLock()

    def refresh(self) -> None:
        """Reads the records that other processes have added."""

    def find(self, output: Path) -> Record | None:
        """The last record of an output."""
        with self._lock:
            return self._records.get(self.name(output))

    def owns(self, output: Path, path: Path, task: str) -> bool:
        """Whether the task has written `path`, which is an output or its comparison, in an earlier run."""
        record = self.find(output)
        if record is None or record.task != task:
            return False
        return (record.output_sha256 if path == output else record.compare_sha256) is not None

    def name(self, output: Path) -> str:
        """The name of an output in the records."""
        return output.relative_to(self.folder).as_posix()

    def claim(self, output: Path) -> bool:
        """Claims an output until it is released; False if another process has it."""
        return True

    def release(self, output: Path) -> None:
        """Releases an output, if it is claimed."""

    def add(self, *records: Record) -> None:
        """Adds records, which replace earlier ones."""
        with self._lock:
            self._records.update({record.output: record for record in records})

    def _add_line(self, line: bytes) -> None:
        """Adds the record of a manifest's line; an incomplete or damaged line is ignored."""
        with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
            known = {name: value for name, value in json.loads(line).items() if name in _FIELDS}
            size = known.get("size")
            record = Record(**{**known, "status": Status(known["status"]), "size": tuple(size) if size else None})
            self._records[str(record.output)] = record


class Manifest(Records):
    """The manifest of an output folder. A later line about an output replaces an earlier one.

    Several runs, and several processes of one, may write to the folder at once: each has its own object.

    Args:
        folder: need not exist.

    Raises:
        RestoreError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._end = 0  # of what has been read
        self._file: IO[bytes] | None = None
        self._alone = Claim(folder / LOCK)
        self._held: dict[Path, Claim] = {}
        self.refresh()

    def find(self, output: Path) -> Record | None:
        """The last record of an output."""
        with self._lock:
            if self._file is not None:
                self.refresh()
            return super().find(output)

    def claim(self, output: Path) -> bool:
        """Claims an output until it is released or the manifest is closed; False if another process has it.

        Raises:
            RestoreError: the folder cannot be written.
        """
        claim = Claim(self._claims(hashlib.sha256(os.fsencode(self.name(output))).hexdigest()[:16]))
        with explained(self.folder / CLAIMS):
            self._alone.take()  # the run that was joined may be over
            if not claim.take():
                return False
        self._held[output] = claim
        return True

    def release(self, output: Path) -> None:
        """Releases an output, if it is claimed."""
        if claim := self._held.pop(output, None):
            claim.remove()

    def add(self, *records: Record) -> None:
        """Writes records, synced to disk before it returns.

        An output is recorded before it gets its name: whenever a run is killed, an output is either recorded with its
        hash or does not exist.

        Raises:
            RestoreError: the lines cannot be written.
        """
        with self._lock, explained(self.folder / NAME), file_lock(self._claims("manifest")):
            assert self._file is not None, "the manifest is not open"
            data = self._line_end() + b"".join(map(_line, records))
            if self._file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
            super().add(*records)

    @contextlib.contextmanager
    def opened(self, join: bool = False) -> Iterator["Manifest"]:
        """Opens the manifest for writing, for one run at a time and those that join it.

        Args:
            join: share the work of a run that is writing there.

        Raises:
            RestoreError: another run is writing to the folder, or it cannot be written.
        """
        path = self.folder / NAME
        with explained(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._alone.take() and not join:
                raise RestoreError(
                    f"{self.folder}: another run is writing there; wait until it is done, share its work with --join, "
                    "or give another -o"
                )
        try:
            with explained(path), path.open("ab+", buffering=0) as self._file:
                self.refresh()
                yield self
        finally:
            self._file = None
            for output in list(self._held):
                self.release(output)
            self._clear()
            self._alone.release()

    def _claims(self, name: str) -> Path:
        return self.folder / CLAIMS / f"{name}.lock"

    def _clear(self) -> None:
        """Removes the locks that no process holds, and their folder if it is then empty."""
        with contextlib.suppress(OSError):
            for path in list((self.folder / CLAIMS).iterdir()):
                claim = Claim(path)
                if claim.take():
                    claim.remove()
            (self.folder / CLAIMS).rmdir()

    def _line_end(self) -> bytes:
        """The line end after a line that a killed process or a full disk has left incomplete."""
        assert self._file is not None
        if self._file.seek(0, os.SEEK_END) == 0:
            return b""
        self._file.seek(-1, os.SEEK_END)
        return b"" if self._file.read(1) == b"\n" else b"\n"

    def refresh(self) -> None:
        """Reads the lines that have been written since the last call."""
        path = self.folder / NAME
        try:
            with path.open("rb") as file:
                file.seek(self._end)
                for line in file:
                    if not line.endswith(b"\n"):
                        return  # being written, or incomplete: the next writer ends it
                    self._end += len(line)
                    self._add_line(line)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise RestoreError(f"{path}: {(error.strerror or 'cannot be read').lower()}; give another -o") from error


class RemoteManifest(Records):
    """The manifest of a folder whose files cannot be appended to: it is read once, and written as a whole at intervals.

    Only one run at a time may write there; this is not checked.

    Args:
        folder: need not exist.

    Raises:
        RestoreError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path, self._written = folder / NAME, -PAUSE
        with contextlib.suppress(FileNotFoundError):
            for line in self._path.read_bytes().splitlines():
                self._add_line(line)

    def add(self, *records: Record) -> None:
        """Adds records, and writes the manifest if `PAUSE` seconds have passed since the last time."""
        with self._lock:
            super().add(*records)
            if time.monotonic() - self._written >= PAUSE:
                self._write()

    @contextlib.contextmanager
    def opened(self, join: bool = False) -> Iterator["RemoteManifest"]:
        """Opens the manifest for writing, which is complete at the end of the block.

        Raises:
            RestoreError: `join` needs locks, or the manifest cannot be written.
        """
        if join:
            raise RestoreError(f"{self.folder}: there are no locks for --join or several devices; use --engine ray")
        try:
            yield self
        finally:
            self._write()

    def _write(self) -> None:
        with explained(self._path):
            put(self._path, b"".join(map(_line, self._records.values())))
        self._written = time.monotonic()


def manifest_of(folder: Path) -> Manifest | RemoteManifest:
    """The manifest of an output folder.

    Raises:
        RestoreError: it cannot be read.
    """
    return RemoteManifest(folder) if is_remote(folder) else Manifest(folder)


def _line(record: Record) -> bytes:
    return json.dumps(dataclasses.asdict(record)).encode("ascii") + b"\n"  # undecodable bytes of file names are escaped


def difference(record: Record, origin: Origin) -> str | None:
    """Which part of a result's origin has changed since it was recorded; None if nothing has."""
    for field, what in (
        ("task", "task"),
        ("sha256", "input"),
        ("mask_sha256", "mask"),
        ("model", "model"),
        ("seed", "seed"),
        ("settings", "settings"),
    ):
        if getattr(record, field) != getattr(origin, field):
            return f"{what} changed"
    return None


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, in any order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
