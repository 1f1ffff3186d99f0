"""From what people type to files: which pictures are meant, and where their outputs go."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import RestoreError
from ..files import identity, is_remote, located
from . import printing
from .manifest import manifest_of
from .options import Batch, Files

Key = tuple[int, int] | str  # device and inode, or the URL: the same for every name of a file


@dataclass(frozen=True)
class Source:
    """A picture to restore, and the folder that it was found in if a folder was given."""

    path: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Job:
    """A picture to restore, where to, and where the comparison goes if one is wanted.

    Attributes:
        source, target, compare: the files.
        name: the picture's path relative to the folder that was given, or as it was typed.
        root: the folder of outputs that has a manifest; None for an output that stands beside its input.
    """

    source: Path
    target: Path
    compare: Path | None = None
    name: str = ""
    root: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """What is to be written."""
        return [self.target, *([self.compare] if self.compare else [])]


@dataclass(frozen=True)
class Naming:
    """How a command names its outputs.

    Attributes:
        suffix: comes after the input's stem: "_inpainted".
        earlier: expression for that suffix in outputs of earlier runs, which are not inputs again.
        task: whose outputs in a folder are the command's own.
    """

    suffix: str
    earlier: str
    task: str


def find(
    arguments: Sequence[str], naming: Naming, options: Batch, apart: Sequence[Path] = ()
) -> tuple[list[Job], bool]:
    """What is to be done, and whether it is a single file that was named.

    Args:
        arguments: the inputs as typed.
        naming: of the command.
        options: what was asked for.
        apart: files and folders that are neither inputs nor to be overwritten: masks.

    Raises:
        RestoreError: see `expand`, `plan` and `check_foreign`.
    """
    outputs = [located(options.output)] if options.output else []
    foreign_kinds: list[Path] = []
    sources = expand(arguments, options.recursive, naming, [*apart, *outputs], foreign_kinds)
    jobs = plan(sources, naming, options, apart)
    if options.keep_times:
        _check_times(jobs)
    if not options.dry_run:
        check_foreign(jobs, naming.task, options)
    if foreign_kinds:
        printing.note(f"not read: {_unread(foreign_kinds)}")
    return jobs, len(sources) == 1 and sources[0].folder is None


def expand(
    arguments: Sequence[str],
    recursive: bool,
    naming: Naming,
    apart: Iterable[Path] = (),
    foreign_kinds: list[Path] | None = None,
) -> list[Source]:
    """The pictures that the arguments mean: files, those of folders, and those that match patterns.

    Args:
        arguments: as typed. A file whose name has the characters of a pattern is that file.
        recursive: also look into the folders of a folder.
        naming: tells outputs of earlier runs, which are left out of folders.
        apart: files and folders that are not inputs wherever they lie: masks, the output folder.
        foreign_kinds: gets the pictures in folders and among matches that are of kinds that are not read.

    Raises:
        RestoreError: an argument means no picture.
    """
    left_out = {identity(path) for path in apart}
    found: dict[str, Source] = {}
    unread: dict[str, Path] = {}
    for argument in arguments:
        strange: list[Path] = []
        for source in _expand_one(argument, recursive, naming, left_out, strange):
            found.setdefault(identity(source.path), source)
        unread.update((identity(path), path) for path in strange)
    if foreign_kinds is not None:
        foreign_kinds += [path for key, path in unread.items() if key not in found]
    return list(found.values())


def _expand_one(
    argument: str, recursive: bool, naming: Naming, left_out: set[str], strange: list[Path]
) -> list[Source]:
    """The pictures that one argument means; those of kinds that are not read are added to `strange`."""
    path = located(argument)
    reason = trouble(path)
    if reason is None and path.is_dir():
        sources = [Source(file, path) for file in _walk(path, recursive, naming, left_out, strange)]
        hint = "" if recursive else " (-r looks into its folders, too)"
        missing = f"{argument}: no pictures in this folder{hint}"
    elif reason is None:
        sources = [Source(path)]
    elif glob.has_magic(argument) and not is_remote(path):
        matches = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207 (Path.glob refuses absolute patterns)
        sources = [Source(file) for file in _sift(matches, naming, left_out) if _is_picture(file, strange)]
        missing = f"{argument}: no picture matches this pattern"
    else:
        raise RestoreError(f"{argument}: {reason}")
    if not sources:
        raise RestoreError(f"{missing}; not read: {_unread(strange)}" if strange else missing)
    return sources


def trouble(path: Path) -> str | None:
    """Why the path is neither a file nor a folder that could be read; None if it is."""
    try:
        path.stat()
    except OSError as error:
        return (error.strerror or "can't be read").lower()
    return None if path.is_file() or path.is_dir() else "neither a file nor a folder"


def _walk(folder: Path, recursive: bool, naming: Naming, left_out: set[str], strange: list[Path]) -> Iterator[Path]:
    """The pictures of a folder, in the order of their names."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RestoreError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from error
    for path in _sift([path for path in paths if not path.name.startswith(".")], naming, left_out):
        if _is_picture(path, strange):
            yield path
        elif recursive and path.is_dir() and not path.is_symlink():
            yield from _walk(path, recursive, naming, left_out, strange)


def _sift(paths: Sequence[Path], naming: Naming, left_out: set[str]) -> list[Path]:
    """Without what is kept apart and outputs of earlier runs: `a_inpainted.png` beside `a.jpg`, `dir_inpainted/`."""
    originals = {name for path in paths for name in (path.name, path.stem)}

    def is_earlier_output(name: str) -> bool:
        match = re.fullmatch(rf"(.+){naming.earlier}(_compare)?(\.\w+)?", name)
        return match is not None and match[1] in originals

    return [path for path in paths if identity(path) not in left_out and not is_earlier_output(path.name)]


def _is_picture(path: Path, strange: list[Path]) -> bool:
    """Whether it is one to be read; one of a kind that is not is added to `strange`."""
    from ..images import is_foreign, is_image

    if is_foreign(path) and path.is_file():
        strange.append(path)
    return is_image(path) and path.is_file()


def _unread(paths: Iterable[Path]) -> str:
    from ..images import unread

    return unread(paths)


def _check_times(jobs: Sequence["Job"]) -> None:
    """Refuses `--keep-times` where files have no times to keep."""
    for job in jobs:
        for path in (job.source, job.target):
            if is_remote(path):
                raise RestoreError(f"{path}: a URL keeps no times; leave --keep-times out")


def plan(sources: Sequence[Source], naming: Naming, options: Batch, apart: Iterable[Path] = ()) -> list[Job]:
    """Where each output goes, before any work.

    Args:
        sources: what `expand` gave.
        naming: of the command.
        options: what was asked for.
        apart: files that are not to be overwritten besides the inputs: masks.

    Raises:
        RestoreError: an output would overwrite an input or another output, or its folder can't be written to.
    """
    targets = _targets(sources, naming, options)
    single = len(sources) == 1 and sources[0].folder is None
    jobs = [
        Job(
            source.path,
            target,
            compare_path(target) if options.compare else None,
            str(_inside(source) if source.folder else source.path.as_posix()),
            None if single else _root(source, naming, options),
        )
        for source, target in zip(sources, targets, strict=True)
    ]
    explicit = names_file(options.output, sources)
    protect(jobs, {*(s.path for s in sources), *apart}, allowed=explicit and options.overwrite)
    _check_folders([path for job in jobs for path in job.outputs])
    return jobs


def check_foreign(jobs: Sequence[Job], task: str, options: Batch) -> None:
    """Refuses outputs that exist and that no earlier run has made, unless they may be replaced or kept.

    Raises:
        RestoreError: names the first, and says how many more there are.
    """
    if not options.resume:
        _refuse(foreign(jobs, task), options, ", --resume to keep what is there," if len(jobs) > 1 else "")


def foreign(jobs: Sequence[Job], task: str) -> list[Path]:
    """The outputs that exist and that the manifest of their folder does not know as the task's."""
    existing = [(job, path) for job in jobs for path in job.outputs if path.exists()]
    # read after looking: a run that is at work writes an output down before it is there
    manifests = {root: manifest_of(root) for root in dict.fromkeys(job.root for job, _ in existing) if root}
    return [path for job, path in existing if not (job.root and manifests[job.root].owns(job.target, path, task))]


def names_file(output: str | None, sources: Sequence[Source]) -> bool:
    """Whether `-o` names a file, not a folder."""
    if output is None or len(sources) != 1 or sources[0].folder:
        return False
    return not output.endswith(("/", os.sep)) and not located(output).is_dir()


def compare_path(target: Path) -> Path:
    """Where the comparison goes that belongs to an output."""
    return target.with_name(f"{target.stem}_compare.png")


def check_suffix(path: Path, options: Files) -> None:
    """Refuses the name of an output file whose suffix is no picture's, or not that of `--format`."""
    from .. import images

    if not path.suffix:
        raise RestoreError(f"{path}: give the output a suffix such as .png, or end it with / for a folder")
    images.output_format(path)
    same = {".jpeg": ".jpg", ".tif": ".tiff"}
    suffix = path.suffix.lower()
    if options.format and same.get(suffix, suffix) != options.format.suffix:
        raise RestoreError(f"{path}: its suffix and --format {options.format.value} disagree; give one of the two")


def _targets(sources: Sequence[Source], naming: Naming, options: Batch) -> list[Path]:
    if names_file(options.output, sources):
        assert options.output is not None
        target = located(options.output)
        check_suffix(target, options)
        return [target]
    if options.output is not None and is_file_name(options.output):
        raise RestoreError(f"{options.output}: there are several outputs; name a folder for them")
    suffix = options.format.suffix if options.format else ".png"
    targets = [_target(source, source.path.stem + _own(source, naming) + suffix, naming, options) for source in sources]
    counts = Counter(targets)
    # a.jpg and a.png both become a.png: those keep their whole names, a.jpg.png and a.png.png.
    return [
        target
        if counts[target] == 1
        else _target(source, source.path.name + _own(source, naming) + suffix, naming, options)
        for source, target in zip(sources, targets, strict=True)
    ]


def _own(source: Source, naming: Naming) -> str:
    """What comes after the stem: nothing inside a folder, whose own name carries the suffix."""
    return "" if source.folder else naming.suffix


def _target(source: Source, name: str, naming: Naming, options: Batch) -> Path:
    root = _root(source, naming, options) or source.path.parent
    return root.joinpath(*_inside(source).parent.parts, name)


def _inside(source: Source) -> PurePosixPath:
    """Where a picture lies in the folder that was given."""
    return PurePosixPath(source.path.relative_to(source.folder).as_posix() if source.folder else source.path.name)


def _root(source: Source, naming: Naming, options: Batch) -> Path | None:
    """The folder of outputs; None for an output that stands beside its input."""
    if options.output:
        return located(options.output)
    if source.folder is None:
        return None
    # `.` and `..` have no name to put a suffix to
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
    """Refuses outputs that are inputs, by whatever name, and outputs that are each other.

    Args:
        jobs: what is planned.
        inputs: files that are not to be overwritten.
        allowed: the user has named that very output and asked for it to be overwritten.

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
                raise RestoreError(f"{seen[path]} and {job.source} would both become {path}; restore them apart")
            seen[path] = job.source


def _key(path: Path) -> Key | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path) if is_remote(path) else (status.st_dev, status.st_ino)


def check_new(paths: Sequence[Path], options: Files) -> None:
    """Refuses outputs that exist (unless they may be replaced) or whose folders can't be written to.

    Raises:
        RestoreError: names the first, and says how many more there are.
    """
    _refuse([path for path in paths if path.exists()], options)
    _check_folders(paths)


def _refuse(existing: Sequence[Path], options: Files, keep: str = "") -> None:
    if existing and not options.overwrite:
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
