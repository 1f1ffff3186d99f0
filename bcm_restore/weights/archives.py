"""The one file that is wanted, out of an archive or a folder with others."""

import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..errors import RestoreError
from ..files import atomic_path
from .transfer import Rejected, is_page

SUFFIXES = (".pt", ".pth", ".safetensors")


class Undecided(RestoreError):  # noqa: N818
    """There are several files, and it is not known which one is meant."""


def extract(archive: Path, wanted: str | None, target: Path) -> Path:
    """Takes one file out of a zip archive into the folder `target`, and leaves the others where they are.

    Args:
        archive: a .zip.
        wanted: the file's name; None: the only .pt with "ema" in its name.
        target: a folder; the file lies right in it, whatever its path in the archive.

    Raises:
        Rejected: it is no archive, is damaged, or has paths that lead out of it.
        Undecided: it does not say which file is meant.
        RestoreError: the file can't be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                _check_path(archive, member.filename)
            name = pick([member.filename for member in members], wanted, archive)
            path = target / PurePosixPath(name).name
            with opened.open(name) as source, atomic_path(path) as temporary, temporary.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        what = "a web page" if is_page(archive) else f"no whole .zip archive ({error})"
        raise Rejected(f"{archive}: is {what}; fetch it again") from error
    return path


def pick(names: Sequence[str], wanted: str | None, place: Path) -> str:
    """The name that is meant: `wanted`, or else the only .pt with "ema" in its name.

    Raises:
        Undecided: there is none, or there are several.
    """
    files = [name for name in names if name.lower().endswith(SUFFIXES)]
    averages = [name for name in files if name.endswith(".pt") and "ema" in PurePosixPath(name).name]
    found = [name for name in names if PurePosixPath(name).name == wanted] if wanted else averages
    if len(found) == 1:
        return found[0]
    there = ", ".join(PurePosixPath(name).name for name in files or names) or "no files at all"
    raise Undecided(f"{place}: which file is meant? --file says it; there are: {there}")


def _check_path(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise Rejected(f"{archive}: holds the path '{name}', which leads out of the archive; don't trust it")
