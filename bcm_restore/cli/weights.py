"""The commands that download and manage weights."""

import dataclasses
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ..errors import RestoreError
from . import groups, printing
from .groups import add
from .options import Report, shared

if TYPE_CHECKING:
    from ..weights.catalogue import Entry


class Stored(str, Enum):
    """The number format of stored models."""

    FP16 = "fp16"
    FP32 = "fp32"


Names = Annotated[
    list[str], typer.Argument(help="Names that 'weights list' shows.", metavar="NAME", show_default=False)
]
AnyNames = Annotated[
    list[str] | None, typer.Argument(help="Only these; default: all.", metavar="NAME", show_default=False)
]
Inside = Annotated[
    str | None,
    typer.Option("--file", help="The file in the archive or folder, if several could be meant.", metavar="NAME"),
]


@shared
def list_(options: Report) -> None:
    """List the weights that are in the package, in the cache, and available for download.

    Example: bcm-restore weights list
    """
    rows = _rows()
    if options.json:
        printing.document(rows)
        return
    for name, row in rows.items():
        printing.result(f"{name}: {row['summary']} [{row['state']}]")
        for key in ("tasks", "resolution", "licence", "citation"):
            if row.get(key):
                printing.result(f"  {key}: {row[key]}")


@shared
def download(
    options: Report,
    names: Names,
    precision: Annotated[Stored, typer.Option("--precision", help="Number format of stored models.")] = Stored.FP16,
    file: Inside = None,
) -> None:
    """Download weights, verify them, and convert them for --model NAME.

    The next call resumes an interrupted download. Proxies are taken from the environment (HTTPS_PROXY). If a server
    sends something else, download the file with a browser and import it.

    Example: bcm-restore weights download bcm-imagenet64
    """
    from ..weights import catalogue
    from ..weights.download import download as fetch

    if file and len(names) > 1:
        raise RestoreError("--file names a file of one archive; download one NAME with it")
    done: dict[str, str] = {}
    for name in names:
        with _Transfer(name) as bar:
            path = fetch(name, precision=precision.value, file=file, progress=bar.update, note=printing.note)
        done[name] = str(path)
        if not options.json:
            printing.result(f"{name}: {path}")
            printing.note(f"{name}: licence {catalogue.get(name).licence}")
    if options.json:
        printing.document(done)


@shared
def verify(options: Report, names: AnyNames = None) -> None:
    """Compare files in the cache with the SHA-256 that was recorded when they were downloaded or imported.

    Example: bcm-restore weights verify
    """
    from ..weights import cache

    states: dict[str, str] = {}
    damaged = []
    there = names or cache.names()
    if not there:
        printing.note(f"nothing to verify: no weights are in the cache, {cache.folder()}")
    for name in there:
        try:
            with _Transfer(name) as bar:
                cache.verify(name, bar.update)
            states[name] = "as recorded"
        except RestoreError as error:
            states[name] = str(error)
            damaged.append(error)
        if not options.json and states[name] == "as recorded":
            printing.result(f"{name}: as recorded")
    if options.json:
        printing.document(states)
    for each in damaged[:-1]:
        printing.note(f"error: {each}")
    if damaged:
        raise damaged[-1]


@shared
def import_(
    options: Report,
    source: Annotated[
        Path, typer.Argument(help=".pt, .safetensors, .zip, or a folder with one.", metavar="FILE|FOLDER")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name for --model.", metavar="NAME")] = None,
    precision: Annotated[
        Stored | None, typer.Option("--precision", help="Number format; default: fp16 for checkpoints.")
    ] = None,
    file: Inside = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights of that name.")] = False,
) -> None:
    """Import a checkpoint that you have downloaded, or your own model, into the cache.

    Published archives are recognised by the names of their folders and files. Code in a .pt file is never run.

    Example: bcm-restore weights import bcf_imagenet64_no32_qkv_4096.zip
    """
    from ..weights.download import import_file

    stored = precision.value if precision else None
    found, path = import_file(source, name=name, precision=stored, file=file, overwrite=overwrite, note=printing.note)
    if options.json:
        printing.document({found: str(path)})
    else:
        printing.result(f"{found}: {path}")


@shared
def path(
    options: Report,
    name: Annotated[str | None, typer.Argument(help="Name of the weights.", metavar="NAME", show_default=False)] = None,
) -> None:
    """Show the path of the cache, or of a file in it.

    The cache is the folder weights/ below $BCM_RESTORE_HOME, or else below the platform's folder for caches
    (~/.cache/bcm-restore on Linux). The networks of LPIPS are also stored in torch.hub's folder of
    checkpoints, $TORCH_HOME/hub/checkpoints, where LPIPS looks for them.

    Example: bcm-restore weights path bcm-imagenet64
    """
    from .. import weights
    from ..weights import cache, catalogue

    where: Path | None = cache.folder()
    if name is not None:
        where = weights.find(name) if name in weights.names() else cache.find(name)
    if where is None:
        assert name is not None
        known = catalogue.get(name).name  # else the error lists the known names
        raise RestoreError(f"'{known}' is not in the cache; 'bcm-restore weights download {known}' fetches it")
    if options.json:
        printing.document({"path": str(where)})
    else:
        printing.result(str(where))


@shared
def remove(options: Report, names: Names) -> None:
    """Remove weights from the cache, with their record and partial downloads.

    Example: bcm-restore weights remove bcm-imagenet64
    """
    from ..weights import download

    gone: dict[str, list[str]] = {}
    for name in names:
        gone[name] = [str(path) for path in download.remove(name)]
        if not options.json:
            printing.result(f"{name}: removed")
    if options.json:
        printing.document(gone)


group = groups.group(
    "weights",
    "Download the published models and the metric networks, import your own, and manage them.",
    "bcm-restore weights download bcm-imagenet64",
)


for _command in (list_, download, verify, import_, path, remove):
    add(group, _command)


class _Transfer:
    """The progress bar of one file, in bytes; hidden if stderr is not a terminal."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # else piped results would appear on the terminal
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bar.add_task(name, total=None)

    def __enter__(self) -> "_Transfer":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int | None) -> None:
        """Shows the bytes done, and the total if it is known."""
        self._bar.update(self._task, completed=done, total=total)


def _rows() -> dict[str, dict[str, Any]]:
    """All weights by name: in the package, in the catalogue, imported."""
    from .. import weights
    from ..weights import cache, catalogue

    rows: dict[str, dict[str, Any]] = {}
    for name in weights.names():
        default = ", the default" if name == weights.DEFAULT else ""
        rows[name] = {"summary": f"model{default}", "state": "in the package", "path": str(weights.find(name))}
    for entry in catalogue.entries().values():
        there = cache.find(entry.name)
        state = "in the cache" if there else f"to download, {_size(entry)}"
        rows[entry.name] = {**dataclasses.asdict(entry), "state": state, "path": str(there) if there else None}
    for name in cache.names():
        record = cache.read(name)
        if name not in rows and record:
            summary = f"imported from {record.source}"
            rows[name] = {"summary": summary, "state": "in the cache", "path": str(cache.find(name))}
    return rows


def _size(entry: "Entry") -> str:
    if entry.size is None:
        return "size unknown"
    return f"{'' if entry.sha256 else 'about '}{entry.size / 1e6:.0f} MB"
