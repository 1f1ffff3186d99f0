"""Finds the folders `tasks/` and `weights/`, inside an installed package or at the top of a checkout."""

from pathlib import Path


def folder(name: str) -> Path:
    """The path of the folder `name`, "tasks" or "weights"."""
    package = Path(__file__).parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name
