"""Benches recorded in this package: their options and results."""

import json
import sys
from pathlib import Path
from typing import Any

from .. import package_data
from ..errors import RestoreError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def folder() -> Path:
    """The folder with NAME.toml, the options of a bench, and NAME/DATA.json, its results on a set of pictures."""
    return package_data.folder("benchmarks") / "recorded"


def names() -> list[str]:
    """The names of the recorded benches."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def options(name: str) -> dict[str, Any]:
    """The options of a recorded bench, by the names of the command line.

    Raises:
        RestoreError: no bench of that name is recorded.
    """
    _check(name)
    return tomllib.loads((folder() / f"{name}.toml").read_text(encoding="utf-8"))


def data(name: str) -> list[str]:
    """The sets of pictures that a bench is recorded on."""
    return sorted(path.stem for path in (folder() / name).glob("*.json"))


def results(name: str, pictures: str) -> dict[str, Any]:
    """The recorded results on a set of pictures, without per-picture values.

    Raises:
        RestoreError: the bench is not known, or not recorded on that set.
    """
    _check(name)
    if pictures not in data(name):
        raise RestoreError(f"bench '{name}' is not recorded on '{pictures}', only on {', '.join(data(name))}")
    return json.loads((folder() / name / f"{pictures}.json").read_text(encoding="utf-8"))


def condensed(results: dict[str, Any]) -> dict[str, Any]:
    """Results in their recorded form: means only, without per-picture values."""
    cases = [{**case, "rows": [{**row, "pictures": {}} for row in case["rows"]]} for case in results["cases"]]
    return {**results, "cases": cases}


def _check(name: str) -> None:
    if name not in names():
        raise RestoreError(f"no bench '{name}' is recorded; choose one of {', '.join(names())}")
