"""Compares two results of the bench."""

import json
from pathlib import Path
from typing import Any

from ...errors import RestoreError
from .markdown import escaped, lines
from .tables import MISSING, Cell, Entry, Results, Table, contestants, decimals, fixed, heading, known

VERSION = 1
SHAPE = {
    "task": str, "command": str, "date": str, "data": dict, "versions": dict, "metrics": dict, "contestants": list,
    "cases": list,
}  # fmt: skip


def read(path: Path) -> Results:
    """Reads a results.json, or the one in a folder.

    Raises:
        RestoreError: the file cannot be read, has other contents, or is of another version.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RestoreError(f"{file}: {reason}; give a results.json of the bench or its folder") from error
    except (ValueError, RecursionError) as error:
        raise RestoreError(f"{file}: not readable JSON; give a results.json of the bench or its folder") from error
    if not isinstance(results, dict) or "version" not in results:
        raise RestoreError(f"{file}: not results of the bench; give a results.json of the bench or its folder")
    if results["version"] != VERSION:
        version = f"results of version {results['version']!r}, but this bcm-restore reads version {VERSION}"
        raise RestoreError(f"{file}: {version}; run the bench again")
    if not all(isinstance(results.get(name), kind) for name, kind in SHAPE.items()):
        raise RestoreError(f"{file}: parts of the results are missing; run the bench again")
    return results


def compare(a: Results, b: Results) -> str:
    """Compares two results, as Markdown: each metric of `a`, of `b`, and `b` minus `a`.

    Warns first if the two are not comparable, and lists cases and contestants that only one of them has.
    """
    parts = ["\n".join(f"- {name}: {escaped(x['date'])}, {escaped(x['command'])}" for name, x in (("a", a), ("b", b)))]
    parts += [f"Warning: {warning}" for warning in _warnings(a, b)]
    parts += _only([case["name"] for case in a["cases"]], [case["name"] for case in b["cases"]], "case")
    others = {case["name"]: case for case in b["cases"]}
    for case in a["cases"]:
        if case["name"] in others:
            parts += _case(a, b, case, others[case["name"]])
    return "\n\n".join(parts) + "\n"


def _warnings(a: Results, b: Results) -> list[str]:
    """The differences that make the damaged pictures of the two differ."""
    differs = {"task": (a["task"], b["task"]), "seed": (a["seed"], b["seed"])}
    differs |= {f"data's {name}": (a["data"][name], b["data"][name]) for name in ("name", "size")}
    program = "bcm-restore"
    differs["version of bcm-restore"] = (a["versions"].get(program), b["versions"].get(program))
    found = [f"the {name} differs: {escaped(str(x))}, {escaped(str(y))}" for name, (x, y) in differs.items() if x != y]
    sums = [{picture["name"]: picture["sha256"] for picture in x["data"]["pictures"]} for x in (a, b)]
    found += [f"pictures: {line}" for line in _only(list(sums[0]), list(sums[1]), "picture")]
    changed = [escaped(name) for name in sums[0] if sums[1].get(name, sums[0][name]) != sums[0][name]]
    if changed:
        found.append(f"pictures of the same name differ: {', '.join(changed)}")
    return found


def _case(a: Results, b: Results, case: Entry, other: Entry) -> list[str]:
    """The contestants of a case that only one of the two has, then the table."""
    rows, others = ({row["contestant"]: row for row in x["rows"]} for x in (case, other))
    parts = [f"## {escaped(case['name'])}", *_only(list(rows), list(others), "contestant")]
    both = [name for name in rows if name in others]
    for name in both:
        parts += _identity(name, contestants(a)[name]["identity"], contestants(b)[name]["identity"])
    cells = [line for name in both for line in _lines(a, b, rows[name], others[name])]
    return [*parts, lines(Table(["contestant", "metric", "a", "b", "b - a"], cells), names=2)] if cells else parts


def _lines(a: Results, b: Results, row: Entry, other: Entry) -> list[list[Cell]]:
    """A line for each metric that at least one of the two has measured."""
    found = []
    for key, metric in (b["metrics"] | a["metrics"]).items():
        x, y = row["mean"].get(key), other["mean"].get(key)
        if known(x) or known(y):
            digits = min(decimals(results, key) for results in (a, b) if key in results["metrics"])
            difference = fixed(y - x, digits, "+") if known(x) and known(y) else MISSING
            texts = [row["contestant"], heading(metric), fixed(x, digits), fixed(y, digits), difference]
            found.append([Cell(text) for text in texts])
    return found


def _identity(name: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The differences of two contestants of the same name."""
    differing = [key for key in one | other if one.get(key) != other.get(key)]
    return [f"{escaped(name)} differs in: {', '.join(map(escaped, differing))}"] if differing else []


def _only(ours: list[str], theirs: list[str], noun: str) -> list[str]:
    """The names that only one of the two has, one line each."""
    found = []
    for which, names in (
        ("a", [name for name in ours if name not in theirs]),
        ("b", [name for name in theirs if name not in ours]),
    ):
        if names:
            found.append(f"only {which} has the {noun}{'s' * (len(names) > 1)} {'; '.join(map(escaped, names))}")
    return found
