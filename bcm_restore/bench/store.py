"""The files of a bench: restored pictures and a record of each, so that an interrupted run can resume."""

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from .. import images
from ..errors import RestoreError
from .base import Contestant, Sample

RECORDS = "records.jsonl"


@dataclasses.dataclass(frozen=True)
class Record:
    """The result of a contestant on a sample.

    Attributes:
        key: hash of the contestant's identity and the sample's content.
        case, contestant, picture: names.
        seconds: the time it took; None if it was not computed here.
        peak_memory: bytes; None if unknown.
        values: the metrics that were available.
    """

    key: str
    case: str
    contestant: str
    picture: str
    seconds: float | None
    peak_memory: int | None
    values: dict[str, float]


Place = tuple[str, str, str]  # case, contestant, picture


def place(record: Record) -> Place:
    """The place of a record's result."""
    return record.case, record.contestant, record.picture


class ResultStore:
    """The output folder of a bench.

    Layout: pictures/CASE/SOURCE/NAME.png, with SOURCE "clean", "damaged" or a contestant's slug, and a line of
    records.jsonl for each result. One process at a time.

    Args:
        folder: the folder; created if missing.
        restart: discard the results of earlier runs.

    Raises:
        RestoreError: the folder has other contents, cannot be written, or is in use by another run.
    """

    def __init__(self, folder: Path, restart: bool = False) -> None:
        self.folder = folder
        if folder.exists() and not (folder / RECORDS).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RestoreError(f"{folder}: contains other files than a bench's results; give another -o")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
            self._file = (folder / RECORDS).open("w" if restart else "a", encoding="utf-8")
        except Timeout as error:
            raise RestoreError(f"{folder}: another bench is writing there; wait for it or give another -o") from error
        except OSError as error:
            reason = (error.strerror or "cannot be written").lower()
            raise RestoreError(f"{folder}: {reason}; give another -o") from error
        if self._file.tell() and not (folder / RECORDS).read_bytes().endswith(b"\n"):
            self._file.write("\n")  # after an incomplete line of a killed process
        self._records: dict[Place, Record] = {}
        for record in _read(folder / RECORDS):
            self._records[place(record)] = record

    def __len__(self) -> int:
        """The number of results, including those of earlier runs."""
        return len(self._records)

    def close(self) -> None:
        """Closes the records and releases the folder."""
        self._file.close()
        self._lock.release()

    def find(self, wanted: Place, key: str) -> Record | None:
        """The record at a place if it has that key, else None."""
        record = self._records.get(wanted)
        return record if record and record.key == key and self.path(*wanted).is_file() else None

    def add(self, record: Record) -> None:
        """Writes a record; it replaces an earlier one of the same place."""
        self._records[place(record)] = record
        self._file.write(json.dumps(dataclasses.asdict(record)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def path(self, case: str, source: str, name: str) -> Path:
        """The path of a picture."""
        return self.folder / "pictures" / slug(case) / slug(source) / f"{name}.png"

    def save(self, case: str, source: str, name: str, picture: np.ndarray) -> None:
        """Writes a picture (H, W, 3) uint8."""
        images.write(images.Picture(picture), self.path(case, source, name))

    def holds(self, case: str, source: str, name: str, picture: np.ndarray) -> bool:
        """Whether exactly this picture is stored."""
        return self.path(case, source, name).is_file() and np.array_equal(self.load(case, source, name), picture)

    def load(self, case: str, source: str, name: str) -> np.ndarray:
        """Reads a picture (H, W, 3) uint8 that `save` wrote."""
        return images.read(self.path(case, source, name)).pixels


def slug(name: str) -> str:
    """A file name for any name: "bcm-nfe-4" for "BCM, NFE 4"; unusual names get a hash."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    simple = re.fullmatch(r"[A-Za-z0-9 ,.-]{1,60}", name)
    return plain if plain and simple else f"{plain[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def key(contestant: Contestant, content: bytes) -> str:
    """A hash of a contestant and a sample's content, stable across runs."""
    identity = json.dumps([contestant.name, contestant.identity()], sort_keys=True)
    return hashlib.sha256(identity.encode() + content).hexdigest()


def digest(sample: Sample) -> bytes:
    """A hash of a sample's content."""
    example = sample.example
    hashed = hashlib.sha256(sample.name.encode())
    hashed.update(example.data or b"")
    for array in (example.damaged, example.clean, *(example.inputs.get(name) for name in ("mask", "kernel"))):
        if isinstance(array, np.ndarray):
            hashed.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    plain = {name: value for name, value in example.inputs.items() if isinstance(value, int | str)}
    hashed.update(json.dumps(plain, sort_keys=True).encode())
    return hashed.digest()


def _read(path: Path) -> list[Record]:
    """Reads the records of a file; skips an incomplete line of a killed process."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            fields: dict[str, Any] = json.loads(line)
            records.append(Record(**fields))
        except (ValueError, TypeError):
            continue
    return records
