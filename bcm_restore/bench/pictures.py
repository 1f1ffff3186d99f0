"""The data of the bench: clean pictures, and the suite of damaged pictures that all contestants restore."""

import functools
import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import images
from ..errors import RestoreError
from ..simulation.degradations import FRAMES, SMALLEST
from .base import Case, Sample, Shape

INSIDE_SCIKIT_IMAGE = ("astronaut", "chelsea", "coffee", "rocket")


@dataclass(frozen=True, eq=False)
class Clean:
    """A clean picture, read on demand: ten thousand do not fit into memory.

    Attributes:
        name: of the file, without suffix.
        read: returns (H, W, 3) uint8; raises RestoreError if the file is not such a picture.
    """

    name: str
    read: Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Clean pictures with unique names.

    Attributes:
        name: of their folder, or "scikit-image".
        size: the side of their crops; None: not cropped.
        clean: the pictures, sorted by name.
    """

    name: str
    size: int | None
    clean: Sequence[Clean]


@dataclass(frozen=True)
class PictureRecord:
    """Identifies a clean picture: its name, its size, and a hash of its pixels (H, W, 3)."""

    name: str
    width: int
    height: int
    sha256: str


def load(
    folder: Path | None = None,
    size: int | None = None,
    limit: int | None = None,
    *,
    max_pixels: int = images.MAX_PIXELS,
) -> Pictures:
    """Lists the clean pictures of a folder, to be read later.

    Args:
        folder: pictures of any kind; None: four from scikit-image.
        size: side of square crops, see `adm_crop`; None: whole pictures.
        limit: at most this number, the first ones.
        max_pixels: maximum number of pixels that a file may declare.

    Raises:
        RestoreError: the folder is missing or has no pictures, two share a name, or the size is below 64. Reading
            raises it for a damaged picture and for a side below 64.
    """
    if size is not None and size < SMALLEST:
        raise RestoreError(f"--size {size}: too small for the bench's degradations; give {SMALLEST} or more")
    if folder is None:
        return Pictures("scikit-image", size, _inside_scikit_image(size)[:limit])
    clean = [Clean(path.stem, functools.partial(_read, path, size, max_pixels)) for path in _files(folder)]
    return Pictures(folder.resolve().name or str(folder), size, clean[:limit])


def adm_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """Scales the shorter side of (H, W, 3) uint8 to `size` and crops the central square (size, size, 3).

    As in Dhariwal and Nichol 2021 (ADM) for ImageNet: halves with Pillow's box filter while the shorter side is at
    least twice the size, then scales with bicubic interpolation.
    """
    image = Image.fromarray(pixels)
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def pairs(clean: Sequence[Clean]) -> list[Clean]:
    """Pairs each picture with the next, the last with the first: (H, 2W, 3), the second resized to the first.

    Raises:
        RestoreError: there is only one picture.
    """
    if len(clean) < 2:
        raise RestoreError(f"interpolate needs two pictures, and there is only {clean[0].name}; give another")
    following = [*clean[1:], clean[0]]
    return [
        Clean(f"{a.name}_to_{b.name}", functools.partial(_strip, a, b)) for a, b in zip(clean, following, strict=True)
    ]


class Suite:
    """The damaged pictures of some cases of a task.

    Each depends only on the seed, the case's name and its picture, not on the rest of the suite.

    Args:
        pictures: the clean pictures; `interpolate` uses them in pairs.
        cases: cases of one task.
        seed: of the degradations.

    Raises:
        RestoreError: the task needs more pictures.
    """

    def __init__(self, pictures: Pictures, cases: Sequence[Case], seed: int = 0) -> None:
        self.pictures, self.cases, self.seed = pictures, list(cases), seed
        self.task = self.cases[0].task
        whole = pairs(pictures.clean) if self.task == "interpolate" else pictures.clean
        self._clean = {clean.name: clean for clean in whole}

    @property
    def names(self) -> list[str]:
        """The names of the samples, the same in each case."""
        return list(self._clean)

    def sample(self, case: Case, name: str) -> Sample:
        """Makes the sample of one of `names`.

        Raises:
            RestoreError: the picture cannot be read or degraded.
        """
        pixels = self._clean[name].read()
        height, width = _cut(pixels.shape[:2], case.multiple)
        rng = np.random.default_rng([self.seed, *(zlib.crc32(word.encode()) for word in (case.name, name))])
        return Sample(name, case.degrade(np.ascontiguousarray(pixels[:height, :width]), rng))

    def samples(self, case: Case) -> Iterator[Sample]:
        """Makes all samples, one at a time."""
        return (self.sample(case, name) for name in self.names)

    def shapes(self, case: Case) -> list[Shape]:
        """The names and sizes of the results; for an interpolation of all frames side by side."""
        frames = FRAMES if self.task == "interpolate" else 1
        sizes = [_cut((record.height, record.width), case.multiple) for record in self.records]
        lost = 2 * case.border
        # there is one pair per picture, of the size of its first picture
        return [
            Shape(name, (height - lost, width * frames - lost))
            for name, (height, width) in zip(self.names, sizes, strict=True)
        ]

    @functools.cached_property
    def records(self) -> list[PictureRecord]:
        """The records of the clean pictures; reads all of them once, which finds unreadable ones."""
        return [_record(clean) for clean in self.pictures.clean]

    def data(self) -> dict[str, Any]:
        """The source of the suite, as JSON: name, size and the records of the clean pictures."""
        size = "native" if self.pictures.size is None else str(self.pictures.size)
        return {"name": self.pictures.name, "size": size, "pictures": [asdict(record) for record in self.records]}


def rgb(pixels: np.ndarray) -> np.ndarray:
    """Converts grey (H, W) or RGB (H, W, 3) of 8 or 16 bits to (H, W, 3) uint8."""
    pixels = images.as_depth(pixels, np.uint8)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))


def _inside_scikit_image(size: int | None) -> list[Clean]:
    from skimage import data

    return [Clean(name, functools.partial(_read_inside, getattr(data, name), size)) for name in INSIDE_SCIKIT_IMAGE]


def _read_inside(read: Callable[[], np.ndarray], size: int | None) -> np.ndarray:
    return read() if size is None else adm_crop(read(), size)


def _files(folder: Path) -> list[Path]:
    """The pictures in a folder, sorted by name without suffix."""
    try:
        found = [path for path in folder.iterdir() if images.is_image(path) and path.is_file()]
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise RestoreError(f"{folder}: {reason}; give a folder of clean pictures") from error
    paths = sorted((path for path in found if not path.name.startswith(".")), key=lambda path: (path.stem, path.name))
    if not paths:
        raise RestoreError(f"{folder}: no pictures in this folder; give a folder of clean pictures")
    for path, following in itertools.pairwise(paths):
        if path.stem == following.stem:
            raise RestoreError(f"{path} and {following.name} have the same name; rename one of them")
    return paths


def _read(path: Path, size: int | None, max_pixels: int) -> np.ndarray:
    pixels = rgb(images.read(path, max_pixels=max_pixels).pixels)
    if size is not None:
        return adm_crop(pixels, size)
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise RestoreError(
            f"{path}: {width}x{height}, but each side must be {SMALLEST} or more; scale all pictures with --size 64 "
            "or 256, or remove it"
        )
    return pixels


def _strip(first: Clean, second: Clean) -> np.ndarray:
    a, b = first.read(), second.read()
    if a.shape != b.shape:
        b = np.asarray(Image.fromarray(b).resize((a.shape[1], a.shape[0]), Image.Resampling.BICUBIC))
    return np.concatenate([a, b], axis=1)


def _cut(size: tuple[int, ...], multiple: int) -> tuple[int, int]:
    """Height and width, rounded down to multiples."""
    height, width = (side // multiple * multiple for side in size)
    return height, width


def _record(clean: Clean) -> PictureRecord:
    pixels = clean.read()
    return PictureRecord(clean.name, pixels.shape[1], pixels.shape[0], hashlib.sha256(pixels.tobytes()).hexdigest())
