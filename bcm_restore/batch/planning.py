"""The paths of outputs, checked before any work, so that no other file is overwritten."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import RestoreError
from ..files import is_remote, located
from .inputs import Found, Source, expand
from .manifest import Manifest, RemoteManifest, manifest_of
from .settings import Settings

Key = tuple[int, int] | str  # device and inode, or the URL: the same for every name of a file


@dataclass(frozen=True)
class Job:
    """A picture to restore, its output, and its comparison if one is written.

    Attributes:
        source, target, compare: the files.
        name: the picture's path relative to the folder that was given, or as it was typed.
        root: the folder of outputs that has a manifest; None for an output beside its input.
    """

    source: Path
    target: Path
    compare: Path | None = None
    name: str = ""
    root: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """The files to be written."""
        return [self.target, *([self.compare] if self.compare else [])]


@dataclass(frozen=True)
class Naming:
    """How a command names its outputs.

    Attributes:
        suffix: comes after the input's stem: "_inpainted".
        earlier: regular expression for that suffix in outputs of earlier runs, which are not inputs again.
        task: whose outputs in a folder are the command's own.
    """

    suffix: str
    earlier: str
    task: str


@dataclass(frozen=True)
class Plan:
    """The pictures of a run, and their outputs.

    Attributes:
        jobs: the pictures.
        naming: of the outputs.
        single: whether a single file was named.
        manifests: of the folders of outputs.
        unread: pictures of unsupported formats.
    """

    jobs: list[Job]
    naming: Naming
    single: bool
    manifests: Mapping[Path, Manifest | RemoteManifest]
    unread: list[Path]

    @property
    def foreign(self) -> list[Path]:
        """The existing outputs that are not the task's according to the manifest of their folder."""
        existing = [(job, path) for job in self.jobs for path in job.outputs if path.exists()]
        # read after the check: a run records an output before it exists
        for root in {job.root for job, _ in existing if job.root}:
            self.manifests[root].refresh()
        return [path for job, path in existing if not (job.root and self._owns(job.root, job.target, path))]

    def _owns(self, root: Path, output: Path, path: Path) -> bool:
        return self.manifests[root].owns(output, path, self.naming.task)


def plan(arguments: Sequence[str], naming: Naming, settings: Settings, apart: Sequence[Path] = ()) -> Plan:
    """Finds the pictures, and where each output goes.

    Args:
        arguments: the inputs as typed.
        naming: of the outputs.
        settings: of the run.
        apart: files and folders that are neither inputs nor to be overwritten: masks.

    Raises:
        RestoreError: an argument names no picture, an output would overwrite a file that is not the task's, or cannot
            be written.
    """
    outputs = [located(settings.output)] if settings.output else []
    found = expand(arguments, settings.recursive, naming.earlier, [*apart, *outputs])
    jobs = plan_jobs(found, naming, settings, apart)
    if settings.keep_times:
        _check_times(jobs)
    manifests = {root: manifest_of(root) for root in dict.fromkeys(job.root for job in jobs if job.root)}
    planned = Plan(jobs, naming, found.single, manifests, found.unread)
    if not settings.dry_run:
        check_foreign(planned, settings)
    return planned


def check_foreign(plan: Plan, settings: Settings) -> None:
    """Refuses existing outputs that no earlier run has written, unless they may be replaced or kept.

    Raises:
        RestoreError: names the first, and says how many more there are.
    """
    if not settings.resume and not settings.overwrite:
        _refuse(plan.foreign, ", --resume to keep existing outputs," if len(plan.jobs) > 1 else "")


def _check_times(jobs: Sequence[Job]) -> None:
    """Refuses `--keep-times` for files without times."""
    for job in jobs:
        for path in (job.source, job.target):
            if is_remote(path):
                raise RestoreError(f"{path}: a URL has no times to keep; leave --keep-times out")


def plan_jobs(found: Found, naming: Naming, settings: Settings, apart: Iterable[Path] = ()) -> list[Job]:
    """The jobs of the pictures, before any work.

    Args:
        found: the pictures.
        naming: of the outputs.
        settings: of the run.
        apart: files that are not to be overwritten besides the inputs: masks.

    Raises:
        RestoreError: an output would overwrite an input or another output, or its folder cannot be written.
    """
    sources = found.sources
    jobs = [
        Job(
            source.path,
            target,
            compare_path(target) if settings.compare else None,
            str(_inside(source) if source.folder else source.path.as_posix()),
            None if found.single else _root(source, naming, settings),
        )
        for source, target in zip(sources, _targets(found, naming, settings), strict=True)
    ]
    explicit = names_file(settings.output, found)
    protect(jobs, {*(s.path for s in sources), *apart}, allowed=explicit and settings.overwrite)
    _check_folders([path for job in jobs for path in job.outputs])
    return jobs


def names_file(output: str | None, found: Found) -> bool:
    """Whether `-o` names a file, not a folder."""
    if output is None or not found.single:
        return False
    return not output.endswith(("/", os.sep)) and not located(output).is_dir()


def compare_path(target: Path) -> Path:
    """The path of the comparison that belongs to an output."""
    return target.with_name(f"{target.stem}_compare.png")


def check_suffix(path: Path, format: str | None) -> None:
    """Refuses the name of an output file whose suffix is not that of a picture, or of `--format`."""
    from .. import images

    if not path.suffix:
        raise RestoreError(f"{path}: give the output a suffix such as .png, or end it with / for a folder")
    images.output_format(path)
    same = {".jpeg": ".jpg", ".tif": ".tiff"}
    suffix = path.suffix.lower()
    if format and same.get(suffix, suffix) != f".{format}":
        raise RestoreError(f"{path}: its suffix and --format {format} disagree; give one of the two")


def _targets(found: Found, naming: Naming, settings: Settings) -> list[Path]:
    if names_file(settings.output, found):
        assert settings.output is not None
        target = located(settings.output)
        check_suffix(target, settings.format)
        return [target]
    if settings.output is not None and is_file_name(settings.output):
        raise RestoreError(f"{settings.output}: there are several outputs; name a folder for them")

    def target_of(source: Source, stem: str) -> Path:
        # no suffix after the stem inside a folder, whose name has it
        name = stem + ("" if source.folder else naming.suffix) + settings.suffix
        root = _root(source, naming, settings) or source.path.parent
        return root.joinpath(*_inside(source).parent.parts, name)

    targets = [target_of(source, source.path.stem) for source in found.sources]
    counts = Counter(targets)
    # a.jpg and a.png would both become a.png: they become a.jpg.png and a.png.png
    return [
        target if counts[target] == 1 else target_of(source, source.path.name)
        for source, target in zip(found.sources, targets, strict=True)
    ]


def _inside(source: Source) -> PurePosixPath:
    """The path of a picture in the folder that was given."""
    return PurePosixPath(source.path.relative_to(source.folder).as_posix() if source.folder else source.path.name)


def _root(source: Source, naming: Naming, settings: Settings) -> Path | None:
    """The folder of outputs; None for an output beside its input."""
    if settings.output:
        return located(settings.output)
    if source.folder is None:
        return None
    # `.` and `..` have no name to append a suffix to
    if is_remote(source.folder) and not source.folder.name:
        raise RestoreError(f"{source.folder}: a whole bucket has no folder beside it for the outputs; give -o")
    root = source.folder if source.folder.name not in ("", "..") else source.folder.resolve()
    return root.with_name(root.name + naming.suffix) if root.name else root / naming.suffix.lstrip("_")


def is_file_name(output: str) -> bool:
    """Whether an output of that name would be a file: it is one, or has a picture's suffix."""
    from ..images import is_image

    path = located(output)
    return path.is_file() or (not path.is_dir() and not output.endswith(("/", os.sep)) and is_image(path))


def protect(jobs: Sequence[Job], inputs: Iterable[Path], allowed: bool) -> None:
    """Refuses outputs that are inputs, by any name, and outputs that are the same file.

    Args:
        jobs: the planned ones.
        inputs: files that are not to be overwritten.
        allowed: whether the user has named that output and allowed overwriting it.

    Raises:
        RestoreError: names the first.
    """
    keys = {key for path in inputs if (key := _key(path))}
    seen: dict[Path, Path] = {}
    for job in jobs:
        if _key(job.target) in keys and not allowed:
            raise RestoreError(f"{job.target} is an input and is not overwritten; give another -o")
        if job.compare and _key(job.compare) in keys:
            raise RestoreError(f"{job.compare} is an input and is not overwritten; give another -o")
        for path in (job.target, job.compare):
            if path is None:
                continue
            if path in seen:
                raise RestoreError(f"{seen[path]} and {job.source} would both become {path}; restore them separately")
            seen[path] = job.source


def _key(path: Path) -> Key | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path) if is_remote(path) else (status.st_dev, status.st_ino)


def check_new(paths: Sequence[Path], overwrite: bool) -> None:
    """Refuses outputs that exist (unless they may be replaced) or whose folders cannot be written.

    Raises:
        RestoreError: names the first, and says how many more there are.
    """
    if not overwrite:
        _refuse([path for path in paths if path.exists()])
    _check_folders(paths)


def _refuse(existing: Sequence[Path], keep: str = "") -> None:
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise RestoreError(f"{existing[0]}{more} exists; use --overwrite{keep} or another -o")


def _check_folders(paths: Sequence[Path]) -> None:
    for folder in dict.fromkeys(path.parent for path in paths if not is_remote(path)):
        _check_writable(folder)


def _check_writable(folder: Path) -> None:
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    if not nearest.is_dir():
        raise RestoreError(f"{nearest} is a file, not a folder to write to; give another -o")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RestoreError(f"{nearest}: no permission to write there; give another -o")
