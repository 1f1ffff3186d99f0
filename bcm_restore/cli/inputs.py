"""From what people type to files: which pictures are meant, and where their outputs go."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RestoreError
from . import printing
from .options import Batch, Files

Key = tuple[int, int]  # device and inode: the same for every name of a file


@dataclass(frozen=True)
class Source:
    """A picture to restore, and the folder that it was found in if a folder was given."""

    path: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Job:
    """A picture to restore, where to, and where the comparison goes if one is wanted."""

    source: Path
    target: Path
    compare: Path | None = None


@dataclass(frozen=True)
class Naming:
    """How a command names its outputs.

    Attributes:
        suffix: comes after the input's stem: "_inpainted".
        earlier: expression for that suffix in outputs of earlier runs, which are not inputs again.
    """

    suffix: str
    earlier: str


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
        RestoreError: see `expand` and `plan`.
    """
    outputs = [Path(options.output)] if options.output else []
    sources = expand(arguments, options.recursive, naming, [*apart, *outputs])
    jobs = plan(sources, naming, options, apart)
    if not jobs:
        printing.note("nothing to do: all outputs exist")
    return jobs, len(sources) == 1 and sources[0].folder is None


def expand(arguments: Sequence[str], recursive: bool, naming: Naming, apart: Iterable[Path] = ()) -> list[Source]:
    """The pictures that the arguments mean: files, those of folders, and those that match patterns.

    Args:
        arguments: as typed. A file whose name has the characters of a pattern is that file.
        recursive: also look into the folders of a folder.
        naming: tells outputs of earlier runs, which are left out of folders.
        apart: files and folders that are not inputs wherever they lie: masks, the output folder.

    Raises:
        RestoreError: an argument means no picture.
    """
    left_out = {os.path.realpath(path) for path in apart}
    found: dict[str, Source] = {}
    for argument in arguments:
        for source in _expand_one(argument, recursive, naming, left_out):
            found.setdefault(os.path.realpath(source.path), source)
    return list(found.values())


def _expand_one(argument: str, recursive: bool, naming: Naming, left_out: set[str]) -> list[Source]:
    path = Path(argument)
    reason = trouble(path)
    if reason is None and path.is_dir():
        sources = [Source(file, path) for file in _walk(path, recursive, naming, left_out)]
        hint = "" if recursive else " (-r looks into its folders, too)"
        missing = f"{argument}: no pictures in this folder{hint}"
    elif reason is None:
        sources = [Source(path)]
    elif glob.has_magic(argument):
        matches = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207 (Path.glob refuses absolute patterns)
        sources = [Source(file) for file in _sift(matches, naming, left_out) if _is_picture(file)]
        missing = f"{argument}: no picture matches this pattern"
    else:
        raise RestoreError(f"{argument}: {reason}")
    if not sources:
        raise RestoreError(missing)
    return sources


def trouble(path: Path) -> str | None:
    """Why the path is neither a file nor a folder that could be read; None if it is."""
    try:
        path.stat()
    except OSError as error:
        return (error.strerror or "can't be read").lower()
    return None if path.is_file() or path.is_dir() else "neither a file nor a folder"


def _walk(folder: Path, recursive: bool, naming: Naming, left_out: set[str]) -> Iterator[Path]:
    """The pictures of a folder, in the order of their names."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RestoreError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from error
    for path in _sift([path for path in paths if not path.name.startswith(".")], naming, left_out):
        if _is_picture(path):
            yield path
        elif recursive and path.is_dir() and not path.is_symlink():
            yield from _walk(path, recursive, naming, left_out)


def _sift(paths: Sequence[Path], naming: Naming, left_out: set[str]) -> list[Path]:
    """Without what is kept apart and outputs of earlier runs: `a_inpainted.png` beside `a.jpg`, `dir_inpainted/`."""
    # realpath, because Path.resolve raises for links that go in circles
    originals = {name for path in paths for name in (path.name, path.stem)}

    def is_earlier_output(name: str) -> bool:
        match = re.fullmatch(rf"(.+){naming.earlier}(_compare)?(\.\w+)?", name)
        return match is not None and match[1] in originals

    return [path for path in paths if os.path.realpath(path) not in left_out and not is_earlier_output(path.name)]


def _is_picture(path: Path) -> bool:
    from ..images import is_image

    return path.is_file() and is_image(path)


def plan(sources: Sequence[Source], naming: Naming, options: Batch, apart: Iterable[Path] = ()) -> list[Job]:
    """Where each output goes, before any work.

    Args:
        sources: what `expand` gave.
        naming: of the command.
        options: what was asked for.
        apart: files that are not to be overwritten besides the inputs: masks.

    Raises:
        RestoreError: an output exists, would overwrite an input or another output, or can't be written.
    """
    targets = _targets(sources, naming, options)
    jobs = [Job(s.path, t, compare_path(t) if options.compare else None) for s, t in zip(sources, targets, strict=True)]
    if options.resume:
        jobs = [job for job in jobs if not job.target.exists()]
    explicit = names_file(options.output, sources)
    protect(jobs, {*(s.path for s in sources), *apart}, allowed=explicit and options.overwrite)
    # a run that was interrupted may have written a comparison without its output
    compares = [] if options.resume else [job.compare for job in jobs if job.compare]
    check_new([*(job.target for job in jobs), *compares], options)
    return jobs


def names_file(output: str | None, sources: Sequence[Source]) -> bool:
    """Whether `-o` names a file, not a folder."""
    if output is None or len(sources) != 1 or sources[0].folder:
        return False
    return not output.endswith(("/", os.sep)) and not Path(output).is_dir()


def compare_path(target: Path) -> Path:
    """Where the comparison goes that belongs to an output."""
    return target.with_name(f"{target.stem}_compare.png")


def check_suffix(path: Path, options: Files) -> None:
    """Refuses the name of an output file whose suffix is no picture's, or not that of `--format`."""
    from .. import images

    if not images.is_image(path):
        raise RestoreError(f"{path}: give the output a suffix such as .png, or end it with / for a folder")
    images.output_format(path)
    same = {".jpeg": ".jpg", ".tif": ".tiff"}
    suffix = path.suffix.lower()
    if options.format and same.get(suffix, suffix) != options.format.suffix:
        raise RestoreError(f"{path}: its suffix and --format {options.format.value} disagree; give one of the two")


def _targets(sources: Sequence[Source], naming: Naming, options: Batch) -> list[Path]:
    if names_file(options.output, sources):
        assert options.output is not None
        target = Path(options.output)
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
    if source.folder is None:
        return (Path(options.output) if options.output else source.path.parent) / name
    # `.` and `..` have no name to put a suffix to
    root = source.folder if source.folder.name not in ("", "..") else source.folder.resolve()
    beside = root.with_name(root.name + naming.suffix) if root.name else root / naming.suffix.lstrip("_")
    inside = source.path.relative_to(source.folder).parent
    return (Path(options.output) if options.output else beside) / inside / name


def is_file_name(output: str) -> bool:
    """Whether an output of that name would be a file: it is one, or has a picture's suffix."""
    from ..images import is_image

    path = Path(output)
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
    return status.st_dev, status.st_ino


def check_new(paths: Sequence[Path], options: Files) -> None:
    """Refuses outputs that exist (unless they may be replaced) or whose folders can't be written to.

    Raises:
        RestoreError: names the first, and says how many more there are.
    """
    existing = [path for path in paths if path.exists() and not options.overwrite]
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        keep = ", --resume to keep what is there," if hasattr(options, "resume") and len(paths) > 1 else ""
        raise RestoreError(f"{existing[0]}{more} exists; use --overwrite{keep} or another -o")
    for folder in dict.fromkeys(path.parent for path in paths):
        _check_writable(folder)


def _check_writable(folder: Path) -> None:
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    if not nearest.is_dir():
        raise RestoreError(f"{nearest} is a file, not a folder to write to; give another -o")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RestoreError(f"{nearest}: no permission to write there; give another -o")
