"""Downloads weights into the cache by name, or imports them from files."""

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import RestoreError
from ..files import atomic_path
from . import archives, cache, catalogue, convert, transfer
from .cache import Note, Progress, Record, silent
from .catalogue import Entry
from .transfer import Rejected


@dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint to install in the cache."""

    path: Path
    file: str  # its published name
    source: str  # URL or path
    movable: bool  # move it instead of copying it


def download(
    name: str,
    *,
    precision: str | None = None,
    file: str | None = None,
    progress: Progress = silent,
    note: Note = silent,
) -> Path:
    """Downloads weights of the catalogue into the cache, unless they are there.

    Args:
        name: name in the catalogue.
        precision: "fp16" or "fp32", for models; None: "fp16".
        file: the file in the archive, if it is not that of the catalogue.
        progress: called with the bytes done.
        note: called with messages for the user.

    Returns:
        The file.

    Raises:
        RestoreError: the download failed or is not the expected file; a partial file is kept to resume from.
    """
    entry = _entry(name)
    with cache.locked(name, note):
        with contextlib.suppress(RestoreError):  # download it if it is missing or damaged
            path = cache.verify(name)
            note(f"{name}: already in the cache; 'bcm-restore weights remove {name}' to download it again")
            if entry.torch_hub:  # torch.hub's folder may have changed
                _share_with_torch_hub(path)
            return path
        part = cache.folder() / f"{name}.part"
        transfer.fetch(entry.url, part, progress)
        try:
            with cache.workspace(name) as work:
                path = _install(name, entry, _open(entry, part, file, work), precision, note)
        except Rejected as error:
            transfer.discard(part)
            # names the URL, as the file no longer exists
            raise Rejected(re.sub(f"^{re.escape(str(cache.folder()))}[^:]*:", f"{entry.url}:", str(error))) from error
        transfer.discard(part)
        return path


def import_file(
    source: Path,
    *,
    name: str | None = None,
    precision: str | None = None,
    file: str | None = None,
    overwrite: bool = False,
    note: Note = silent,
) -> tuple[str, Path]:
    """Imports a checkpoint file into the cache.

    Args:
        source: .pt, .safetensors, the published archive, or a folder with such a file.
        name: name in the cache; None: the catalogue's for a file that is known there, else the file's.
        precision: "fp16" or "fp32"; None: unchanged for models of this package, else "fp16".
        file: the file in the folder or archive.
        overwrite: replace weights of that name.
        note: called with messages for the user.

    Returns:
        The name and the file.

    Raises:
        RestoreError: the file is not a supported checkpoint, or the name is in use.
    """
    given, source = source, source.expanduser().resolve()
    if not source.exists():
        raise RestoreError(f"{given}: no such file")
    entry = catalogue.entries().get(name) if name else catalogue.match(source.stem, source.name, source.parent.name)
    name = name or (entry.name if entry else re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._"))
    _check_name(name)
    with cache.locked(name, note):
        if cache.find(name) and not overwrite:
            raise RestoreError(f"'{name}' is already in the cache; --overwrite to replace it, or give another --name")
        with cache.workspace(name) as work:
            try:
                return name, _install(name, entry, _locate(source, entry, file, work), precision, note)
            except RestoreError as error:
                # names the archive, not the temporary folder
                temporary = re.escape(str(work)) + r"[/\\]"
                raise type(error)(re.sub(temporary, lambda _: f"{source}{os.sep}", str(error))) from error


def remove(name: str) -> list[Path]:
    """Removes weights from the cache, and the same file from torch.hub's folder; returns the removed paths.

    Raises:
        RestoreError: the cache has nothing of that name, or it is in use.
    """
    shared = []
    with contextlib.suppress(RestoreError):
        path = cache.find(name)
        if path and catalogue.get(name).torch_hub:
            linked = torch_hub_path(path.name)
            shared = [linked] if linked.exists() and linked.samefile(path) else []
    removed = cache.remove(name)
    for linked in shared:
        linked.unlink(missing_ok=True)
    return removed + shared


def _entry(name: str) -> Entry:
    from .files import names

    if name in names():
        raise RestoreError(f"'{name}' is inside the package; there is nothing to download")
    return catalogue.get(name)


def _check_name(name: str) -> None:
    from .files import names

    if name in names():
        raise RestoreError(f"'{name}' is the name of a model inside the package; give another --name")
    if not cache.is_name(name):
        raise RestoreError(f"'{name}' is not a valid name; --name takes letters, digits, '.', '-' and '_'")


def _open(entry: Entry, part: Path, file: str | None, work: Path) -> _Checkpoint:
    """Finds the checkpoint in a download."""
    if entry.folder is None:
        if transfer.is_page(part):
            raise Rejected(f"{entry.url}: the server sent a web page instead of the file; try later")
        return _Checkpoint(part, entry.file or part.name, entry.url, movable=True)
    path = archives.extract(part, file or entry.file, work)
    return _Checkpoint(path, path.name, entry.url, movable=True)


def _locate(source: Path, entry: Entry | None, file: str | None, work: Path) -> _Checkpoint:
    """Finds the checkpoint in a file, an archive or a folder."""
    wanted = file or (entry.file if entry else None)
    if source.suffix.lower() == ".zip":
        path = archives.extract(source, wanted, work)
        return _Checkpoint(path, path.name, str(source), movable=True)
    if source.is_dir():
        inside = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
        files = [name for name in inside if name.lower().endswith(archives.SUFFIXES)]
        source = inside[files[0] if not wanted and len(files) == 1 else archives.pick(list(inside), wanted, source)]
    return _Checkpoint(source, source.name, str(source), movable=False)


def _install(name: str, entry: Entry | None, found: _Checkpoint, precision: str | None, note: Note) -> Path:
    """Checks a checkpoint, stores it in the cache under a name, and writes its record.

    Raises:
        Rejected: the checkpoint is not the expected one.
        RestoreError: the checkpoint is not supported, or cannot be written.
    """
    sha256 = cache.digest(found.path)
    _check_digest(name, entry, found, sha256)
    kind = entry.kind if entry else "model"
    path = cache.folder() / (entry.stored_as if entry else f"{name}.safetensors")
    if kind == "model":
        convert.convert(found.path, path, precision)
    else:
        if kind == "start":
            convert.check_start(found.path)
            note(f"{name}: a consistency model; to train from it, set 'start = \"{path}\"' in the configuration")
        _place(found, path)
    record = Record(
        file=path.name,
        size=path.stat().st_size,
        sha256=sha256 if kind != "model" else cache.digest(path),
        kind=kind,
        source=found.source,
        source_file=found.file,
        source_sha256=sha256,
        licence=entry.licence if entry else "",
    )
    cache.write(name, record)
    if entry and entry.sha256 is None:
        record_path = cache.record_path(name)
        note(f"{name}: no SHA-256 is published; this file's is recorded in {record_path} and verified from now on")
    if entry and entry.torch_hub:
        _share_with_torch_hub(path)
    return path


def _check_digest(name: str, entry: Entry | None, found: _Checkpoint, sha256: str) -> None:
    """Compares the SHA-256 with the catalogue's, or else with that of the first file under this name."""
    if entry is None:
        return
    if entry.sha256 is not None:
        if sha256 != entry.sha256:
            expected = f"{entry.sha256} as in the catalogue"
            raise Rejected(f"{found.source}: its SHA-256 is {sha256}, not {expected}; download it again")
        return
    before = cache.read(name)
    if before and before.source_file == found.file and before.source_sha256 != sha256:
        raise Rejected(
            f"{found.source}: {found.file} is not the file of the first download (SHA-256 {sha256}, recorded "
            f"{before.source_sha256}); if you trust it, 'bcm-restore weights remove {name}' and try again"
        )


def _place(found: _Checkpoint, path: Path) -> None:
    """Moves or copies a file, unchanged."""
    if found.movable:
        with contextlib.suppress(OSError):
            found.path.replace(path)
            return
    with atomic_path(path) as temporary:
        shutil.copyfile(found.path, temporary)


def torch_hub_path(file: str) -> Path:
    """The path at which torch.hub, and so LPIPS, looks for a file."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / file


def _share_with_torch_hub(path: Path) -> None:
    """Links or copies a file to torch.hub's folder, unless it exists there."""
    target = torch_hub_path(path.name)
    if target.exists():
        return
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(path)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
