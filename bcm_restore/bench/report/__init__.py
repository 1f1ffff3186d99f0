"""Reports of a bench: report.md and report.html from results.json, and comparisons of two results."""

from .answer import answers
from .compare import compare, read
from .tables import Cell, Table, table, versus
from .writing import write

__all__ = ["Cell", "Table", "answers", "compare", "read", "table", "versus", "write"]
