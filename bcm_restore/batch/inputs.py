"""From what people type to files: which pictures are meant."""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RestoreError
from ..files import identity, is_remote, located


@dataclass(frozen=True)
class Source:
    """A picture to restore, and the folder that it was found in if a folder was given."""

    path: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Found:
    """What the arguments mean.

    Attributes:
        sources: the pictures.
        unread: pictures in folders and among matches that are of kinds that are not read.
    """

    sources: list[Source]
    unread: list[Path]

    @property
    def single(self) -> bool:
        """Whether it is one file that was named."""
        return len(self.sources) == 1 and self.sources[0].folder is None


def trouble(path: Path) -> str | None:
    """Why the path is neither a file nor a folder that could be read; None if it is."""
    try:
        path.stat()
    except OSError as error:
        return (error.strerror or "can't be read").lower()
    return None if path.is_file() or path.is_dir() else "neither a file nor a folder"


def expand(
    arguments: Sequence[str],
    recursive: bool,
    earlier: str,
    apart: Iterable[Path] = (),
) -> Found:
    """The pictures that the arguments mean: files, those of folders, and those that match patterns.

    Args:
        arguments: as typed. A file whose name has the characters of a pattern is that file.
        recursive: also look into the folders of a folder.
        earlier: expression for the suffix of outputs of earlier runs, which are left out of folders.
        apart: files and folders that are not inputs wherever they lie: masks, the output folder.

    Raises:
        RestoreError: an argument means no picture.
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
    """The pictures that one argument means; those of kinds that are not read are added to `strange`."""
    path = located(argument)
    reason = trouble(path)
    if reason is None and path.is_dir():
        sources = [Source(file, path) for file in _walk(path, recursive, earlier, left_out, strange)]
        hint = "" if recursive else " (-r looks into its folders, too)"
        missing = f"{argument}: no pictures in this folder{hint}"
    elif reason is None:
        sources = [Source(path)]
    elif glob.has_magic(argument) and not is_remote(path):
        matches = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207 (Path.glob refuses absolute patterns)
        sources = [Source(file) for file in _sift(matches, earlier, left_out) if _is_picture(file, strange)]
        missing = f"{argument}: no picture matches this pattern"
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
    """Without what is kept apart and outputs of earlier runs: `a_inpainted.png` beside `a.jpg`, `dir_inpainted/`."""
    originals = {name for path in paths for name in (path.name, path.stem)}

    def is_earlier_output(name: str) -> bool:
        match = re.fullmatch(rf"(.+){earlier}(_compare)?(\.\w+)?", name)
        return match is not None and match[1] in originals

    return [path for path in paths if identity(path) not in left_out and not is_earlier_output(path.name)]


def _is_picture(path: Path, strange: list[Path]) -> bool:
    """Whether it is one to be read; one of a kind that is not is added to `strange`."""
    from ..images import is_foreign, is_image

    if is_foreign(path) and path.is_file():
        strange.append(path)
    return is_image(path) and path.is_file()


def unread_kinds(paths: Iterable[Path]) -> str:
    """What is said of pictures that are of kinds that are not read."""
    from ..images import unread

    return unread(paths)
