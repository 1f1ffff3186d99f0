"""Model files: in the package, in the cache or elsewhere; downloads and imports of published weights."""

from .files import DEFAULT, PUBLISHED, SMALL, find, load_model, metadata, names, read, save_model

__all__ = ["DEFAULT", "PUBLISHED", "SMALL", "find", "load_model", "metadata", "names", "read", "save_model"]
