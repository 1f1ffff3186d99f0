"""The benches that are recorded in this package: how they were run, and what came out."""

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
    """NAME.toml are the options of a bench, NAME/DATA.json its results on each set of pictures."""
    return package_data.folder("benchmarks") / "recorded"


def names() -> list[str]:
    """Of the recorded benches."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def options(name: str) -> dict[str, Any]:
    """The options that a recorded bench was run with, by the names of the command line.

    Raises:
        RestoreError: there is none of that name.
    """
    _check(name)
    return tomllib.loads((folder() / f"{name}.toml").read_text(encoding="utf-8"))


def data(name: str) -> list[str]:
    """The sets of pictures that a bench is recorded for."""
    return sorted(path.stem for path in (folder() / name).glob("*.json"))


def results(name: str, pictures: str) -> dict[str, Any]:
    """The recorded results on a set of pictures, without those of single pictures.

    Raises:
        RestoreError: there is no such bench, or it is not recorded for that set.
    """
    _check(name)
    if pictures not in data(name):
        raise RestoreError(f"bench '{name}' is not recorded for '{pictures}'; it is for {', '.join(data(name))}")
    return json.loads((folder() / name / f"{pictures}.json").read_text(encoding="utf-8"))


def condensed(results: dict[str, Any]) -> dict[str, Any]:
    """Results as they are recorded: means, without the values of single pictures."""
    cases = [{**case, "rows": [{**row, "pictures": {}} for row in case["rows"]]} for case in results["cases"]]
    return {**results, "cases": cases}


def _check(name: str) -> None:
    if name not in names():
        raise RestoreError(f"no bench '{name}' is recorded; there are {', '.join(names())}")
