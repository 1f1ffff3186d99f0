"""From arguments to files: the pictures to restore."""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RestoreError
from ..files import identity, is_remote, located


@dataclass(frozen=True)
class Source:
    """A picture to restore, and the given folder that it was found in, if any."""

    path: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Found:
    """The pictures that the arguments name.

    Attributes:
        sources: the pictures.
        unread: pictures of unsupported formats, in folders and among matches.
    """

    sources: list[Source]
    unread: list[Path]

    @property
    def single(self) -> bool:
        """Whether a single file was named."""
        return len(self.sources) == 1 and self.sources[0].folder is None


def unreadable(path: Path) -> str | None:
    """Why the path cannot be read as a file or a folder; None if it can."""
    try:
        path.stat()
    except OSError as error:
        return (error.strerror or "cannot be read").lower()
    return None if path.is_file() or path.is_dir() else "neither a file nor a folder"


def expand(
    arguments: Sequence[str],
    recursive: bool,
    earlier: str,
    apart: Iterable[Path] = (),
) -> Found:
    """The pictures that the arguments name: files, those in folders, and those that match patterns.

    Args:
        arguments: as typed. An existing file whose name looks like a pattern is that file.
        recursive: include subfolders.
        earlier: regular expression for the suffix of outputs of earlier runs, which are left out of folders.
        apart: files and folders that are never inputs: masks, the output folder.

    Raises:
        RestoreError: an argument names no picture.
    """
    left_out = {identity(path) for path in apart}
    found: dict[str, Source] = {}
    unread: dict[str, Path] = {}
    for argument in arguments:
        strange: list[Path] = []
        for source in _expand_one(argument, recursive, earlier, left_out, strange):
            found.setdefault(identity(source.path), source)
        unread.update((identity(path), path) for path in strange)
    return Found(list(found.values()), [path for key, path in unread.items() if key not in found])


def _expand_one(argument: str, recursive: bool, earlier: str, left_out: set[str], strange: list[Path]) -> list[Source]:
    """The pictures that one argument names; those of unsupported formats are added to `strange`."""
    path = located(argument)
    reason = unreadable(path)
    if reason is None and path.is_dir():
        sources = [Source(file, path) for file in _walk(path, recursive, earlier, left_out, strange)]
        hint = "" if recursive else " (-r includes subfolders)"
        missing = f"{argument}: no pictures in this folder{hint}"
    elif reason is None:
        sources = [Source(path)]
    elif glob.has_magic(argument) and not is_remote(path):
        matches = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207 (Path.glob refuses absolute patterns)
        sources = [Source(file) for file in _sift(matches, earlier, left_out) if _is_picture(file, strange)]
        missing = f"{argument}: no picture matches this pattern; check it"
    else:
        raise RestoreError(f"{argument}: {reason}")
    if not sources:
        raise RestoreError(f"{missing}; not read: {unread_kinds(strange)}" if strange else missing)
    return sources


def _walk(folder: Path, recursive: bool, earlier: str, left_out: set[str], strange: list[Path]) -> Iterator[Path]:
    """The pictures of a folder, in the order of their names."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RestoreError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from error
    for path in _sift([path for path in paths if not path.name.startswith(".")], earlier, left_out):
        if _is_picture(path, strange):
            yield path
        elif recursive and path.is_dir() and not path.is_symlink():
            yield from _walk(path, recursive, earlier, left_out, strange)


def _sift(paths: Sequence[Path], earlier: str, left_out: set[str]) -> list[Path]:
    """The paths, but for excluded ones and earlier outputs: `a_inpainted.png` beside `a.jpg`, `dir_inpainted/`."""
    originals = {name for path in paths for name in (path.name, path.stem)}

    def is_earlier_output(name: str) -> bool:
        match = re.fullmatch(rf"(.+){earlier}(_compare)?(\.\w+)?", name)
        return match is not None and match[1] in originals

    return [path for path in paths if identity(path) not in left_out and not is_earlier_output(path.name)]


def _is_picture(path: Path, strange: list[Path]) -> bool:
    """Whether it is a picture to read, without a suffix by its header; `strange` gets one of an unsupported format."""
    from ..images import is_foreign, is_image, starts_as_image

    if is_foreign(path) and path.is_file():
        strange.append(path)
    return path.is_file() and (is_image(path) if path.suffix else starts_as_image(path))


def unread_kinds(paths: Iterable[Path]) -> str:
    """The message about pictures of unsupported formats."""
    from ..images import unread

    return unread(paths)
