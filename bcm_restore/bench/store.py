"""What a bench leaves on the disk: restored pictures and a record of each, so that a stopped run goes on."""

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
    """What became of a sample.

    Attributes:
        key: of the contestant and the sample, by content.
        case, contestant, picture: names.
        seconds: that it took; None where it was not computed here.
        peak_memory: bytes; None where it can't be told.
        values: the metrics that could be measured.
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
    """Where the result lies that a record is of."""
    return record.case, record.contestant, record.picture


class Store:
    """The folder of a bench.

    Layout: pictures/CASE/WHO/NAME.png, with WHO "clean", "damaged" or a contestant's slug, and a line of records.jsonl
    for each result. One process at a time.

    Args:
        folder: made if it is not there.
        anew: forget what earlier runs left.

    Raises:
        RestoreError: the folder holds other things than a bench's, can't be written, or another run is at work in it.
    """

    def __init__(self, folder: Path, anew: bool = False) -> None:
        self.folder = folder
        if folder.exists() and not (folder / RECORDS).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RestoreError(f"{folder}: holds something else than a bench's results; give another -o")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
            self._file = (folder / RECORDS).open("w" if anew else "a", encoding="utf-8")
        except Timeout as error:
            raise RestoreError(f"{folder}: another bench is writing there; wait for it or give another -o") from error
        except OSError as error:
            reason = (error.strerror or "cannot be written").lower()
            raise RestoreError(f"{folder}: {reason}; give another -o") from error
        if self._file.tell() and not (folder / RECORDS).read_bytes().endswith(b"\n"):
            self._file.write("\n")  # after a line that a killed process left half-written
        self._records: dict[Place, Record] = {}
        for record in _read(folder / RECORDS):
            self._records[place(record)] = record

    def close(self) -> None:
        """Lets others work in the folder."""
        self._file.close()
        self._lock.release()

    def find(self, where: Place, key: str) -> Record | None:
        """The record of the result that lies in a place, if it has that key."""
        record = self._records.get(where)
        return record if record and record.key == key and self.path(*where).is_file() else None

    def add(self, record: Record) -> None:
        """Writes a record down; it replaces an earlier one of the same place."""
        self._records[place(record)] = record
        self._file.write(json.dumps(dataclasses.asdict(record)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def path(self, case: str, who: str, name: str) -> Path:
        """Where a picture lies."""
        return self.folder / "pictures" / slug(case) / slug(who) / f"{name}.png"

    def save(self, case: str, who: str, name: str, picture: np.ndarray) -> None:
        """Writes a picture (H, W, 3) uint8."""
        images.write(images.Picture(picture), self.path(case, who, name))

    def holds(self, case: str, who: str, name: str, picture: np.ndarray) -> bool:
        """Whether that picture lies there."""
        return self.path(case, who, name).is_file() and np.array_equal(self.load(case, who, name), picture)

    def load(self, case: str, who: str, name: str) -> np.ndarray:
        """The picture (H, W, 3) uint8 that `save` wrote."""
        return images.read(self.path(case, who, name)).pixels


def slug(name: str) -> str:
    """A file's name for any name: "BCM, NFE 4" is "bcm-nfe-4"; names that read alike are told apart by a hash."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    simple = re.fullmatch(r"[A-Za-z0-9 ,.-]{1,60}", name)
    return plain if plain and simple else f"{plain[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def key(contestant: Contestant, content: bytes) -> str:
    """The same for the same contestant on a sample of the same content, whatever run they are in."""
    who = json.dumps([contestant.name, contestant.identity()], sort_keys=True)
    return hashlib.sha256(who.encode() + content).hexdigest()


def digest(sample: Sample) -> bytes:
    """A hash of all that a sample holds."""
    example = sample.example
    hashed = hashlib.sha256(sample.name.encode())
    hashed.update(example.data or b"")
    for array in (example.damaged, example.clean, example.inputs.get("mask")):
        if array is not None:
            hashed.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    plain = {name: value for name, value in example.inputs.items() if isinstance(value, int | str)}
    hashed.update(json.dumps(plain, sort_keys=True).encode())
    return hashed.digest()


def _read(path: Path) -> list[Record]:
    """The records of a file; a last line that a killed process left half-written is not one."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            fields: dict[str, Any] = json.loads(line)
            records.append(Record(**fields))
        except (ValueError, TypeError):
            continue
    return records
