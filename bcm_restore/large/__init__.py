"""Restores images too large for memory: problems are posed band by band, and schemes run on temporary files."""

from .images import BandImage, DiskImage, MemoryImage
from .problem import BandProblem
from .runner import run

__all__ = ["BandImage", "BandProblem", "DiskImage", "MemoryImage", "run"]
