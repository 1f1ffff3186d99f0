"""The weights that can be fetched: where, how large, under which licence, and what their SHA-256 must be."""

import difflib
import sys
from dataclasses import dataclass
from typing import Any

from .. import package_data
from ..errors import RestoreError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = ("model", "start", "metric")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One of the catalogue's weights; weights/catalogue.toml says what each field means."""

    name: str
    kind: str
    summary: str
    tasks: str
    resolution: str
    licence: str
    citation: str
    url: str
    folder: str | None = None
    file: str | None = None
    size: int | None = None
    sha256: str | None = None
    torch_hub: bool = False

    @property
    def stored_as(self) -> str:
        """Name of its file in the cache: a model's is its own, a metric's network keeps the publisher's."""
        if self.kind == "metric" and self.file:
            return self.file
        return self.name + (".safetensors" if self.kind == "model" else ".pt")


def entries() -> dict[str, Entry]:
    """All that can be fetched, by name.

    Raises:
        RestoreError: the catalogue can't be read.
    """
    path = package_data.folder("weights") / "catalogue.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(name, table) for name, table in document.items()}
    except (OSError, tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise RestoreError(f"{path}: not a readable catalogue ({error}); install bcm-restore again") from error


def get(name: str) -> Entry:
    """The entry of that name.

    Raises:
        RestoreError: there is none; a close name is offered.
    """
    known = entries()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1) or known
        raise RestoreError(f"'{name}' is not in the catalogue of weights; did you mean {', '.join(close)}?")
    return known[name]


def match(*clues: str) -> Entry | None:
    """The entry that one of these names of folders, or else of files, belongs to."""
    known = entries().values()
    found = [entry for entry in known if entry.folder in clues] + [entry for entry in known if entry.file in clues]
    return found[0] if found else None


def _entry(name: str, table: dict[str, Any]) -> Entry:
    entry = Entry(name=name, **table)
    if entry.kind not in KINDS or not entry.url.startswith("https://"):
        raise ValueError(f"[{name}] has kind '{entry.kind}' and URL {entry.url}")
    return entry
