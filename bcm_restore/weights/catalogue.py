"""The catalogue of downloadable weights: URL, size, licence and SHA-256."""

import sys
from dataclasses import dataclass
from typing import Any

from .. import package_data
from ..errors import RestoreError, instead

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = ("model", "start", "metric")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the catalogue; weights/catalogue.toml documents the fields."""

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
        """The file name in the cache: by the entry's name, or the publisher's for networks of metrics."""
        if self.kind == "metric" and self.file:
            return self.file
        return self.name + (".safetensors" if self.kind == "model" else ".pt")


def entries() -> dict[str, Entry]:
    """The entries of the catalogue, by name.

    Raises:
        RestoreError: the catalogue cannot be read.
    """
    path = package_data.folder("weights") / "catalogue.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(name, table) for name, table in document.items()}
    except (OSError, tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise RestoreError(f"{path}: not a readable catalogue ({error}); install bcm-restore again") from error


def get(name: str) -> Entry:
    """The entry of a name.

    Raises:
        RestoreError: the name is not known; suggests a similar one.
    """
    known = entries()
    if name not in known:
        raise RestoreError(f"'{name}' is not in the catalogue of weights; {instead(name, known)}")
    return known[name]


def match(*names: str) -> Entry | None:
    """The entry whose folder, or else file, has one of these names."""
    known = entries().values()
    found = [entry for entry in known if entry.folder in names] + [entry for entry in known if entry.file in names]
    return found[0] if found else None


def _entry(name: str, table: dict[str, Any]) -> Entry:
    entry = Entry(name=name, **table)
    if entry.kind not in KINDS or not entry.url.startswith("https://"):
        raise ValueError(f"[{name}] has kind '{entry.kind}' and URL {entry.url}")
    return entry
