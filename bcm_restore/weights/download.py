"""Weights into the cache: fetched by name, or imported from files that were fetched by hand."""

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
class _Found:
    """A checkpoint on its way into the cache."""

    path: Path  # where it lies
    file: str  # its name where it was published
    source: str  # URL or path
    own: bool  # it may be moved


def download(
    name: str,
    *,
    precision: str | None = None,
    file: str | None = None,
    progress: Progress = silent,
    note: Note = silent,
) -> Path:
    """Fetches weights of the catalogue into the cache, unless they are there.

    Args:
        name: of the catalogue.
        precision: "fp16" or "fp32", of models; None: "fp16".
        file: the file in the archive, where the catalogue does not know it or another one is wanted.
        progress: told of the bytes.
        note: told what a user should know.

    Returns:
        The file.

    Raises:
        RestoreError: it can't be fetched, or is not what it should be; then only a partial file stays, to go on with.
    """
    entry = _entry(name)
    with cache.locked(name, note):
        with contextlib.suppress(RestoreError):  # missing or damaged: then it is fetched
            path = cache.verify(name)
            note(f"{name}: is there already; 'bcm-restore weights remove {name}' makes place for another")
            if entry.torch_hub:  # whose folder may be another one by now
                _share_with_torch_hub(path)
            return path
        part = cache.folder() / f"{name}.part"
        transfer.fetch(entry.url, part, progress)
        try:
            with cache.workspace(name) as work:
                path = _install(name, entry, _open(entry, part, file, work), precision, note)
        except Rejected as error:
            transfer.discard(part)
            # the file is gone: it is the URL that people can do something about
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
    """Takes a checkpoint that was fetched by hand into the cache.

    Args:
        source: .pt, .safetensors, the archive as it was published, or a folder with such a file.
        name: under which it is found from then on; None: the catalogue's if the file is known there, else its own.
        precision: "fp16" or "fp32"; None: models of this package's stay as they are, others become "fp16".
        file: which file of the folder or archive.
        overwrite: replace weights of that name.
        note: told what a user should know.

    Returns:
        The name and the file.

    Raises:
        RestoreError: it is no checkpoint that can be used, or the name is taken.
    """
    given, source = source, source.expanduser().resolve()
    if not source.exists():
        raise RestoreError(f"{given}: no such file")
    clues = (source.stem, source.name, source.parent.name)
    entry = catalogue.entries().get(name) if name else catalogue.match(*clues)
    name = name or (entry.name if entry else re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._"))
    _check_name(name)
    with cache.locked(name, note):
        if cache.find(name) and not overwrite:
            raise RestoreError(f"'{name}' is in the cache already; --overwrite replaces it, or give another --name")
        with cache.workspace(name) as work:
            try:
                return name, _install(name, entry, _look_up(source, entry, file, work), precision, note)
            except RestoreError as error:
                # what was unpacked for a moment is called what it was unpacked from
                hidden = re.escape(str(work)) + r"[/\\]"
                raise type(error)(re.sub(hidden, lambda _: f"{source}{os.sep}", str(error))) from error


def remove(name: str) -> list[Path]:
    """Removes weights from the cache, and from where torch.hub looks if it is the same file; returns what was removed.

    Raises:
        RestoreError: there is nothing of that name, or it is in use.
    """
    shared = []
    with contextlib.suppress(RestoreError):
        path = cache.find(name)
        if path and catalogue.get(name).torch_hub:
            linked = torch_hub_path(path.name)
            shared = [linked] if linked.exists() and linked.samefile(path) else []
    gone = cache.remove(name)
    for linked in shared:
        linked.unlink(missing_ok=True)
    return gone + shared


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
        raise RestoreError(f"'{name}' can't be a name; --name takes letters, digits, '.', '-' and '_'")


def _open(entry: Entry, part: Path, file: str | None, work: Path) -> _Found:
    """The checkpoint in what was fetched."""
    if entry.folder is None:
        if transfer.is_page(part):
            raise Rejected(f"{entry.url}: the server sent a web page instead of the file; try later")
        return _Found(part, entry.file or part.name, entry.url, own=True)
    path = archives.extract(part, file or entry.file, work)
    return _Found(path, path.name, entry.url, own=True)


def _look_up(source: Path, entry: Entry | None, file: str | None, work: Path) -> _Found:
    """The checkpoint in a file, an archive or a folder."""
    wanted = file or (entry.file if entry else None)
    if source.suffix.lower() == ".zip":
        path = archives.extract(source, wanted, work)
        return _Found(path, path.name, str(source), own=True)
    if source.is_dir():
        inside = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
        files = [name for name in inside if name.lower().endswith(archives.SUFFIXES)]
        source = inside[files[0] if not wanted and len(files) == 1 else archives.pick(list(inside), wanted, source)]
    return _Found(source, source.name, str(source), own=False)


def _install(name: str, entry: Entry | None, found: _Found, precision: str | None, note: Note) -> Path:
    """Checks a checkpoint, puts it under its name into the cache, and records what it is.

    Raises:
        Rejected: it is not the one that it should be.
        RestoreError: it can't be used or written.
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
            note(f"{name}: is a consistency model; training starts from it: 'start = \"{path}\"' in its configuration")
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
        kept = cache.record_path(name)
        note(f"{name}: no SHA-256 is published; that of this file is kept in {kept} and verified from now on")
    if entry and entry.torch_hub:
        _share_with_torch_hub(path)
    return path


def _check_digest(name: str, entry: Entry | None, found: _Found, sha256: str) -> None:
    """Compares with the catalogue, or else with the first file that came under this name."""
    if entry is None:
        return
    if entry.sha256 is not None:
        if sha256 != entry.sha256:
            expected = f"{entry.sha256} as the catalogue says"
            raise Rejected(f"{found.source}: its SHA-256 is {sha256}, not {expected}; fetch it again")
        return
    before = cache.read(name)
    if before and before.source_file == found.file and before.source_sha256 != sha256:
        raise Rejected(
            f"{found.source}: {found.file} is not the file that first came (SHA-256 {sha256}, recorded "
            f"{before.source_sha256}); if you trust it, 'bcm-restore weights remove {name}' and do it again"
        )


def _place(found: _Found, path: Path) -> None:
    """Moves or copies a file as it is."""
    if found.own:
        with contextlib.suppress(OSError):
            found.path.replace(path)
            return
    with atomic_path(path) as temporary:
        shutil.copyfile(found.path, temporary)


def torch_hub_path(file: str) -> Path:
    """Where torch.hub, and LPIPS with it, looks for a file."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / file


def _share_with_torch_hub(path: Path) -> None:
    """Links or copies a file to where torch.hub looks for it; what is there already stays."""
    target = torch_hub_path(path.name)
    if target.exists():
        return
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(path)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
