"""The checkpoint that a run resumes from."""

from pathlib import Path
from typing import Any

import torch

from ..errors import RestoreError
from ..files import atomic_path

CHECKPOINT = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Writes the run's checkpoint."""
    with atomic_path(folder / CHECKPOINT) as path:
        torch.save(state, path)


def load(folder: Path) -> dict[str, Any]:
    """Reads the run's checkpoint, onto the CPU.

    Raises:
        RestoreError: the file is missing or not readable.
    """
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RestoreError(f"{path}: no such file; omit --resume to start from scratch") from error
    except Exception as error:
        raise RestoreError(f"{path}: not a readable checkpoint ({type(error).__name__}); omit --resume") from error
    return state
