"""What the bench found: results.json as report.md and report.html, and two of them side by side."""

from pathlib import Path

from ...files import atomic_path
from .compare import compare, read
from .grids import Picture
from .html import to_html
from .markdown import to_markdown
from .tables import Cell, Results, Table, table, versus

__all__ = ["Cell", "Table", "compare", "read", "table", "versus", "write"]


def write(results: Results, folder: Path, picture: Picture) -> None:
    """Writes report.md and report.html into a folder.

    Args:
        results: what results.json holds.
        folder: made if need be.
        picture: of a case's name, of who made it ("clean", "damaged" or a contestant's name) and of a picture's name,
            the picture (H, W, 3) uint8. The damaged one may be smaller. For interpolations the damaged one is both ends
            side by side, a contestant's all frames side by side, and the clean one is not asked for.

    Raises:
        RestoreError: a file can't be written; what stood there stays.
    """
    for name, text in (("report.md", to_markdown(results)), ("report.html", to_html(results, picture))):
        with atomic_path(folder / name) as temporary:
            # A file's name that is no UTF-8 can't be written as it is.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
