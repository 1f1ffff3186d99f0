"""Packages that a part of the program needs and that may be missing or broken."""

import contextlib
from collections.abc import Iterator

from .errors import RestoreError

_MATCHING = "install matching versions of torch and torchvision from the same index (pip's --index-url)"


@contextlib.contextmanager
def required(what: str, package: str, way: str) -> Iterator[None]:
    """Turns a failed import in the block into an error of one line.

    Args:
        what: the part that needs the package, for messages: "LPIPS".
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
        way = _MATCHING if "torchvision" in reason else f"install it again: {way}"
        raise RestoreError(f"{what} needs the package {package}, which cannot be imported ({reason}); {way}") from error
