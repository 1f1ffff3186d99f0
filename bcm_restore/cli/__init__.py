"""The command line, `bcm-restore`."""

from .root import app, main

__all__ = ["app", "main"]
