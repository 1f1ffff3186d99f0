"""Zero-shot image restoration with bidirectional consistency models (arXiv 2403.18035).

import bcm_restore.tasks
restored = bcm_restore.tasks.get("inpaint").restore(image, mask=mask, nfe=4)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .weights import load_model

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: --help and --version must not wait for it.
    if name == "load_model":
        from .weights import load_model

        return load_model
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
