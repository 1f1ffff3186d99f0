"""The report as GitHub Flavored Markdown."""

import re

from .answer import answers
from .tables import LEGEND, VERSUS_LEGEND, Cell, Entry, Results, Table, facts, missing, table, versus


def to_markdown(results: Results) -> str:
    """The whole report."""
    parts = [f"# bcm-restore bench: {escaped(results['task'])}", _indented(results["command"])]
    if found := answers(results):
        parts.append(_bullets([f"**{escaped(case)}**: {escaped(sentence)}" for case, sentence in found]))
    parts.append(_bullets([f"{name}: {escaped(text)}" for name, text in facts(results)]))
    for case in results["cases"]:
        parts += _case(results, case)
    absent = [f"{escaped(title)}: {escaped(reason)}" for title, reason in missing(results)]
    if absent:
        parts += ["## Not measured", _bullets(absent)]
    return "\n\n".join(parts) + "\n"


def lines(shown: Table, names: int = 1) -> str:
    """A Markdown table with padded cells; the first columns are left-aligned, numbers right-aligned."""
    rows = [list(map(escaped, shown.header)), *([_cell(cell) for cell in row] for row in shown.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruler = [f":{'-' * (w - 1)}" if n < names else f"{'-' * (w - 1)}:" for n, w in enumerate(widths)]
    padded = [
        [cell.ljust(w) if n < names else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [padded[0], ruler, *padded[1:]])


def escaped(text: str) -> str:
    """Escapes text for Markdown, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|&~#$!])", r"\\\1", " ".join(text.split()))


def _case(results: Results, case: Entry) -> list[str]:
    legend = LEGEND.format(best="Bold", best_of_nfe="Italic")
    parts = [f"## {escaped(case['name'])}", lines(table(results, case["name"])), legend]
    compared = versus(results, case["name"])
    if compared:
        parts += ["### Against BCM", lines(compared, names=2), VERSUS_LEGEND.format(best="Bold")]
    if case["notes"]:
        parts.append(_bullets([escaped(note) for note in case["notes"]]))
    return parts


def _cell(cell: Cell) -> str:
    marks = "**" * cell.best + "*" * cell.best_of_nfe
    return f"{marks}{escaped(cell)}{marks}"


def _bullets(items: list[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.splitlines())
