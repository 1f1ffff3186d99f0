"""Zero-shot image restoration with bidirectional consistency models (arXiv 2403.18035).

import bcm_restore
bcm_restore.restore_file("inpaint", "photo.png", "clean.png", mask="mask.png", nfe=4)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import batch
    from .batch import restore_file
    from .weights import load_model

__version__ = "0.1.0"
__all__ = ["__version__", "batch", "load_model", "restore_file"]

_MODULES = {
    "load_model": "weights",
    "restore_file": "batch",
}  # torch takes seconds to import: --help must not wait for it


def __getattr__(name: str) -> Any:
    if name == "batch":
        return importlib.import_module(".batch", __name__)
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
