"""Model files: those inside the package, in the cache or anywhere else, and how published ones are brought in."""

from .files import DEFAULT, PUBLISHED, SMALL, find, load_model, metadata, names, read, save_model

__all__ = ["DEFAULT", "PUBLISHED", "SMALL", "find", "load_model", "metadata", "names", "read", "save_model"]
