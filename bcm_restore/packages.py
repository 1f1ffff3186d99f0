"""Packages that a part of the program needs and that may be missing or broken."""

import contextlib
from collections.abc import Iterator

from .errors import RestoreError

_FITTING = "take torch and torchvision of versions that fit, both from the same index (pip's --index-url)"


@contextlib.contextmanager
def required(what: str, package: str, way: str) -> Iterator[None]:
    """Says in one line why what is imported in the block can't be.

    Args:
        what: needs the package, for messages: "LPIPS".
        package: its name on PyPI.
        way: how to get it.

    Raises:
        RestoreError: it is missing, or a package that it needs is, or it fails while it is imported.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        missing = package if module in ("", package.replace("-", "_")) else module
        raise RestoreError(f"{what} needs the package {missing}; {way}") from error
    except Exception as error:  # torchvision raises RuntimeError beside a torch that it was not built for
        reason = " ".join(str(error).split()) or type(error).__name__
        way = _FITTING if "torchvision" in reason else f"install it again: {way}"
        raise RestoreError(f"{what} needs the package {package}, which can't be imported ({reason}); {way}") from error
