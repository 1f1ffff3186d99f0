"""Recognises pictures by the suffix of their names, and advises on those that cannot be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from .silenced import pillow_silenced

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".avif", ".bmp")
"""Suffixes of pictures, in lower case."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP")
"""Their formats, by Pillow's names."""

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""Suffixes of pictures that need pillow-heif."""

NEEDS_HEIF = 'pip install "bcm-restore[heif]"'
_CONVERT = "convert them to PNG first"
# The usual name of pictures with these suffixes, and how to convert them.
_FOREIGN = {
    HEIF_SUFFIXES: ("HEIC", NEEDS_HEIF),
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mos", ".mrw", ".nef"),
        *(".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    ): ("camera RAW", "develop them to TIFF first, with rawpy or darktable"),
    (".gif",): ("GIF", "read when named one by one"),
    (".jxl",): ("JPEG XL", f"{_CONVERT}, with djxl or pillow-jxl-plugin"),
    (".jp2", ".j2k", ".jpf", ".jpx", ".jpc"): ("JPEG 2000", f"{_CONVERT}, with Pillow"),
    (".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm"): ("PNM", f"{_CONVERT}, with Pillow"),
    (".tga",): ("TGA", f"{_CONVERT}, with Pillow"),
    (".psd", ".psb"): ("Photoshop", f"{_CONVERT}, with Photoshop or GIMP"),
    (".xcf",): ("GIMP", f"{_CONVERT}, with GIMP"),
    (".svg", ".eps"): ("vector", f"{_CONVERT}, with Inkscape"),
    (".exr", ".hdr"): ("HDR", f"{_CONVERT}, with OpenImageIO"),
    (".pcx", ".ico", ".icns", ".dds", ".qoi", ".sgi"): ("of other kinds", f"{_CONVERT}, with Pillow"),
}
_KINDS = {suffix: kind for suffixes, kind in _FOREIGN.items() for suffix in suffixes}


def reads_heif() -> bool:
    """Whether pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


def is_image(path: str | Path) -> bool:
    """Whether the file's suffix is that of a readable picture."""
    suffix = Path(str(path)).suffix.lower()
    return suffix in SUFFIXES or (suffix in HEIF_SUFFIXES and reads_heif())


def starts_as_image(path: Path) -> bool:
    """Whether a file, whatever its name, has the header of a readable picture."""
    try:
        with path.open("rb") as file, pillow_silenced(), Image.open(file, formats=FORMATS):
            return True
    except Exception:  # of files that are none
        return False


def is_foreign(path: str | Path) -> bool:
    """Whether the file's suffix is that of a picture that is skipped in folders."""
    return Path(str(path)).suffix.lower() in _KINDS and not is_image(path)


def unread(paths: Iterable[Path]) -> str:
    """Counts the foreign pictures of each kind, with advice; empty for none."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for path in paths:
        counts[_KINDS[path.suffix.lower()]] += 1
    return ", ".join(f"{count} {name} ({way})" for (name, way), count in sorted(counts.items()))
