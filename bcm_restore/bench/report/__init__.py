"""Reports of a bench: report.md and report.html from results.json, and comparisons of two results."""

from pathlib import Path

from ...files import atomic_path
from .compare import compare, read
from .grids import LoadPicture
from .html import to_html
from .markdown import to_markdown
from .tables import Cell, Results, Table, table, versus

__all__ = ["Cell", "Table", "compare", "read", "table", "versus", "write"]


def write(results: Results, folder: Path, picture: LoadPicture) -> None:
    """Writes report.md and report.html into a folder.

    Args:
        results: the contents of results.json.
        folder: created if missing.
        picture: loads a picture (H, W, 3) uint8 by case, source ("clean", "damaged" or a contestant) and name. Damaged
            pictures may be smaller. For interpolations "damaged" is both ends side by side, a contestant's picture all
            frames side by side, and "clean" is not used.

    Raises:
        RestoreError: a file cannot be written; an existing file is kept.
    """
    for name, text in (("report.md", to_markdown(results)), ("report.html", to_html(results, picture))):
        with atomic_path(folder / name) as temporary:
            # File names that are not UTF-8 cannot be written as they are.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
