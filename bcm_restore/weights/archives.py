"""Finds and extracts one file of an archive or a folder."""

import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..errors import RestoreError
from ..files import atomic_path
from .transfer import Rejected, is_page

SUFFIXES = (".pt", ".pth", ".safetensors")


class Ambiguous(RestoreError):  # noqa: N818
    """No file matches, or several do."""


def extract(archive: Path, wanted: str | None, target: Path) -> Path:
    """Extracts one file of a zip archive.

    Args:
        archive: a .zip file.
        wanted: the file's name; None: the only .pt with "ema" in its name.
        target: output folder; folders of the archive are not created in it.

    Raises:
        Rejected: the archive is not a zip, is damaged, or has paths that lead out of it.
        Ambiguous: no file matches, or several do.
        RestoreError: the file cannot be written.
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
        reason = "a web page" if is_page(archive) else f"not a complete .zip archive ({error})"
        raise Rejected(f"{archive}: {reason}; download it again") from error
    return path


def pick(names: Sequence[str], wanted: str | None, place: Path) -> str:
    """Picks `wanted`, or else the only .pt with "ema" in its name.

    Raises:
        Ambiguous: no file matches, or several do.
    """
    files = [name for name in names if name.lower().endswith(SUFFIXES)]
    averages = [name for name in files if name.endswith(".pt") and "ema" in PurePosixPath(name).name]
    found = [name for name in names if PurePosixPath(name).name == wanted] if wanted else averages
    if len(found) == 1:
        return found[0]
    found_names = ", ".join(PurePosixPath(name).name for name in files or names) or "no files"
    raise Ambiguous(f"{place}: several or no files match; choose one with --file, out of: {found_names}")


def _check_path(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise Rejected(f"{archive}: has the path '{name}', which leads out of the archive; do not trust it")
