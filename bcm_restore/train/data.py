"""Training pictures: decoded once into memory as uint8; crops, flips and scales are sampled on the device."""

import io
import itertools
import os
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import RestoreError
from .levels import uniform

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
HELD_OUT = 32
CHUNK = 64  # encoded files in memory at a time


@dataclass(frozen=True)
class Picture:
    """A decoded picture: its path, its folder's name, and its pixels (H, W, 3) uint8."""

    name: str
    folder: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Source:
    """Decoded pictures, sorted by name, and a line for each skipped file."""

    pictures: list[Picture]
    skipped: list[str]


def read_sources(paths: Iterable[Path], crop: int) -> Source:
    """Decodes all pictures of files, folders (recursively) and tar shards.

    Args:
        paths: pictures, folders and .tar, .tar.gz or .tgz files.
        crop: pictures with a shorter side are skipped.

    Raises:
        RestoreError: a path does not exist, or no picture is usable.
    """
    paths, pictures, skipped = list(paths), [], []
    for name, pixels in _decoded(file for path in paths for file in _files(path)):
        if isinstance(pixels, Exception):
            skipped.append(f"{name}: not a readable picture ({type(pixels).__name__})")
        elif min(pixels.shape[:2]) < crop:
            skipped.append(f"{name}: {pixels.shape[1]}x{pixels.shape[0]} is smaller than the crop, {crop}")
        else:
            pictures.append(Picture(name, Path(name).parent.name, pixels))
    if not pictures:
        places = ", ".join(map(str, paths)) or "no path was given"
        left_out = f"; {len(skipped)} skipped, the first: {skipped[0]}" if skipped else ""
        raise RestoreError(f"no pictures to train on ({places}){left_out}; give folders or .tar files with pictures")
    return Source(sorted(pictures, key=lambda picture: picture.name), skipped)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each picture file."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if not any(_looks_like_picture(file.name) or _is_shard(file) for file in files):
            raise RestoreError(f"{path}: no pictures in it; give a folder or .tar with {', '.join(sorted(SUFFIXES))}")
        for file in files:
            if _looks_like_picture(file.name):
                yield str(file), file.read_bytes()
            elif _is_shard(file):
                yield from _members(file)
    elif not path.exists():
        raise RestoreError(f"{path}: no such file or folder")
    elif _is_shard(path):
        yield from _members(path)
    else:
        yield str(path), path.read_bytes()


def _members(shard: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(shard) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and _looks_like_picture(member.name) else None
                if file is not None:
                    yield f"{shard.name}/{member.name}", file.read()
    except Exception as error:  # damaged bytes make decompressors raise anything
        reason = str(error).partition(":\n")[0]  # the next lines list the compressions that were tried
        raise RestoreError(f"{shard}: not a readable tar file ({reason}); download or pack it again") from error


def _looks_like_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")


def _is_shard(path: Path) -> bool:
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def _decoded(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, np.ndarray | Exception]]:
    """Each file's name and its pixels or error, in order; several threads decode one chunk at a time."""

    def decode(file: tuple[str, bytes]) -> tuple[str, np.ndarray | Exception]:
        try:
            return file[0], _decode(file[1])
        except Exception as error:  # damaged bytes make decoders raise anything
            return file[0], error

    files = iter(files)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(itertools.islice(files, CHUNK)):
            yield from threads.map(decode, chunk)


def _decode(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith("I;16"):  # 16-bit grey, which Pillow clips at 255
            return np.stack([(np.asarray(image) >> 8).astype(np.uint8)] * 3, -1)
        return np.asarray(image.convert("RGB"))


def split(pictures: list[Picture], held_out: int | None, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Splits pictures into training and validation sets, reproducibly for the same names and seed.

    If `held_out` is None, a tenth of the pictures, at most `HELD_OUT`, is for validation.

    Raises:
        RestoreError: nothing would be left to train on.
    """
    if held_out is None:
        held_out = min(HELD_OUT, len(pictures) // 10)
    if held_out >= len(pictures):
        raise RestoreError(f"held_out = {held_out} leaves nothing of {len(pictures)} pictures to train on; lower it")
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = set(order[:held_out])
    return (
        [picture for n, picture in enumerate(pictures) if n not in chosen],
        [picture for n, picture in enumerate(pictures) if n in chosen],
    )


class Crops:
    """Random square crops, in any of the eight orientations, of pictures in the device's memory.

    Args:
        pictures: the pictures to crop.
        side: side of a crop, in pixels.
        half: share of the crops that are cut at twice the size and downsampled by averaging.
        device: where the pictures are kept.
        labels: also return the crops' classes: indices into the sorted names of the folders.
    """

    def __init__(
        self, pictures: list[Picture], side: int, *, half: float, device: torch.device, labels: bool = False
    ) -> None:
        self.side, self.half, self.device = side, half, device
        self.classes = sorted({picture.folder for picture in pictures}) if labels else []
        sizes = torch.tensor([picture.pixels.shape[:2] for picture in pictures])
        areas = sizes.prod(1)
        self.sizes = sizes.to(device)
        self.starts = (areas.cumsum(0) - areas).to(device)
        self.weights = areas.double().to(device)
        large = sizes.amin(1) >= 2 * side
        self.large_weights = (areas * large).double().to(device)
        self.pixels = torch.cat([torch.from_numpy(p.pixels.reshape(-1, 3).copy()) for p in pictures]).to(device)
        self.labels = torch.tensor([self.classes.index(p.folder) for p in pictures], device=device) if labels else None
        if not large.any():
            self.half = 0.0

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """(count, 3, side, side) crops in [-1, 1], in channels_last, and their classes (count,) if labels are on.

        Pictures are sampled in proportion to their area.
        """
        halved = round(self.half * count)
        small, small_chosen = self._cut(halved, 2, self.large_weights, generator)
        large, large_chosen = self._cut(count - halved, 1, self.weights, generator)
        order = torch.randperm(count, generator=generator, device=self.device)  # mixes the scales
        crops = torch.cat([small, large])[order].contiguous(memory_format=torch.channels_last).div_(127.5).sub_(1)
        if self.labels is None:
            return crops, None
        return crops, self.labels[torch.cat([small_chosen, large_chosen])[order]]

    def _cut(self, count: int, scale: int, weights: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Crops (count, 3, side, side) in [0, 255] and the indices of their pictures."""
        if not count:
            return torch.empty(0, 3, self.side, self.side, device=self.device), self.starts[:0]
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        side, sizes = scale * self.side, self.sizes[chosen]
        corner = (torch.rand(count, 2, generator=generator, device=self.device) * (sizes - side + 1)).long()
        line = torch.arange(side, device=self.device)
        down, right, across = (uniform(3 * count, generator) < 0.5).view(3, count, 1)
        rows = corner[:, :1] + torch.where(down, line.flip(0), line)
        columns = corner[:, 1:] + torch.where(right, line.flip(0), line)
        index = self.starts[chosen][:, None, None] + rows[:, :, None] * sizes[:, 1, None, None] + columns[:, None, :]
        index = torch.where(across[:, None], index.mT, index)
        crops = self.pixels[index].permute(0, 3, 1, 2).float()
        return (F.avg_pool2d(crops, scale) if scale > 1 else crops), chosen


def centres(pictures: list[Picture], side: int) -> Tensor:
    """Centre crops (N, 3, side, side) in [-1, 1] of the pictures that are large enough."""
    crops = []
    for picture in pictures:
        y, x = ((length - side) // 2 for length in picture.pixels.shape[:2])
        if min(y, x) >= 0:
            crops.append(torch.from_numpy(picture.pixels[y : y + side, x : x + side].copy()))
    if not crops:
        return torch.empty(0, 3, side, side)
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
