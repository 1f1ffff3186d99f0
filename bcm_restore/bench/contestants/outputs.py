"""Results of other programs: folders of pictures, including Palette's, and I2SB's .pt files."""

import functools
import hashlib
import itertools
import math
import re
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ... import images
from ...errors import RestoreError
from ...files import digest
from ...images.metadata import read_exif
from ...images.silenced import pillow_silenced
from ..base import Case, Contestant, Sample, Shape
from ..pictures import rgb

PALETTE = "Out_"  # prefix of its results, beside GT_, Mask_ and Process_
MAX_ABS = 4.0  # networks overshoot [-1, 1] a little; pictures in [0, 255] exceed this


def outputs(spec: str, cases: Sequence[Case]) -> Contestant:
    """Makes a contestant of another program's results.

    Args:
        spec: "NAME[@NFE]=PATH". PATH is a folder of pictures with the names of the clean ones, of Palette's `Out_*`,
            or of I2SB's recon.pt or recon_*.pt; or one such .pt file. If PATH has folders or .pt files named after
            cases, it takes part in these cases only.
        cases: all cases of the bench.

    Raises:
        RestoreError: the spec is malformed, PATH does not exist, or its case is ambiguous.
    """
    name, nfe, path = parse(spec)
    sources = {case.name: own for case in cases if (own := _of_case(path, case.name))}
    if not sources and len(cases) != 1:
        wanted = ", ".join(case.name for case in cases)
        raise RestoreError(
            f"--outputs {spec}: {path} has no folder named after a case; put each case's results into one: {wanted}"
        )
    return Outputs(name, nfe, sources or {cases[0].name: path})


def parse(spec: str) -> tuple[str, int | None, Path]:
    """Parses "NAME[@NFE]=PATH" into name, NFE and path.

    Raises:
        RestoreError: the spec is malformed, or PATH does not exist.
    """
    left, _, right = spec.partition("=")
    name, at, nfe = left.partition("@")
    name = name.strip()
    if not (name and name.isprintable() and right) or spec.splitlines() != [spec]:
        raise RestoreError(f"--outputs {spec!r}: not of the form NAME=PATH or NAME@NFE=PATH; write i2sb@4=results/")
    if at and not re.fullmatch("0*[1-9][0-9]{0,8}", nfe):
        raise RestoreError(f"--outputs {spec}: the NFE '{nfe}' is not a positive integer; write {name}@4={right}")
    try:
        path = Path(right).expanduser()  # shells do not expand ~ after =
        path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RestoreError(f"--outputs {spec}: {right}: {reason.lower()}; check the path") from error
    return name, int(nfe) if at else None, path


class Outputs(Contestant):
    """Reads another program's results; call `check` of a case before `restore`.

    Args:
        name: the method's name.
        nfe: network evaluations per picture, as the user gives it.
        sources: path of the results of each case, by its name.
    """

    measured = False

    def __init__(self, name: str, nfe: int | None, sources: Mapping[str, Path]) -> None:
        self.name, self.family, self.nfe = name if nfe is None else f"{name}, NFE {nfe}", name, nfe
        self._sources = dict(sources)
        self._results: dict[str, dict[str, Result]] = {}

    def identity(self) -> dict[str, Any]:
        """Name, NFE, and a hash of the files of all cases.

        Raises:
            RestoreError: there are no files, or one cannot be read.
        """
        return {"name": self.name, "nfe": self.nfe, "sha256": self._digest}

    @functools.cached_property
    def _digest(self) -> str:
        whole = hashlib.sha256()
        for case, source in sorted(self._sources.items()):
            for file in _files(source):
                whole.update(f"{digest(file)} {case}/{file.name}\n".encode(errors="surrogateescape"))
        return whole.hexdigest()

    def suits(self, case: Case) -> bool:
        """Cases with results."""
        return case.name in self._sources

    def check(self, case: Case, shapes: Sequence[Shape]) -> None:
        """Checks that each picture has a result of the right size, and that there are no others.

        Raises:
            RestoreError: names the first result that is missing, superfluous or of another size, and counts the rest.
        """
        try:
            self._results[case.name] = _match(self._sources[case.name], shapes)
        except RestoreError as error:
            raise RestoreError(f"{self.name}: {error}") from error

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The other program's picture (H, W, 3) uint8: without alpha, grey as RGB, 16 bits as 8.

        Raises:
            RestoreError: the file is damaged.
        """
        return self._results[case.name][sample.name].read()


class Result(ABC):
    """One restored picture."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width, without decoding the picture."""

    @abstractmethod
    def read(self) -> np.ndarray:
        """(H, W, 3) uint8."""


@dataclass(frozen=True)
class PictureFile(Result):
    """A picture file."""

    path: Path

    def size(self) -> tuple[int, int]:
        """Height and width, from the header and the EXIF orientation.

        Raises:
            RestoreError: the file is not a picture.
        """
        try:
            with pillow_silenced(), Image.open(self.path) as image:
                width, height = image.size
                # Pillow gives the upright size of a TIFF, and decodes a whole PNG to look for EXIF after the pixels.
                skip = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
                orientation = 1 if skip else read_exif(image)[1]
        except Exception:  # damaged bytes make decoders raise anything
            return images.read(self.path).size  # raises RestoreError with the reason
        return (width, height) if orientation >= 5 else (height, width)

    def read(self) -> np.ndarray:
        """The pixels.

        Raises:
            RestoreError: the file is damaged, or its size differs from the header's.
        """
        picture = images.read(self.path)
        if picture.size != self.size():
            raise RestoreError(f"{self.path}: is rotated by EXIF that follows the pixels; save it upright")
        return rgb(picture.pixels)


@dataclass(frozen=True, eq=False)
class Slice(Result):
    """An image of a stack: floats (3, H, W) in about [-1, 1]."""

    pixels: Tensor

    def size(self) -> tuple[int, int]:
        """Height and width of the tensor."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def read(self) -> np.ndarray:
        """The pixels, rounded to 0 to 255."""
        values = ((self.pixels.float() + 1) * 127.5).round().clamp(0, 255)
        return values.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _of_case(path: Path, case: str) -> Path | None:
    """The folder or the .pt file of a case."""
    folder, stack = path / case, path / f"{case}.pt"
    return folder if folder.is_dir() else stack if stack.is_file() else None


def _files(source: Path) -> list[Path]:
    """The files of the results: pictures, or .pt files in the order of their parts.

    Raises:
        RestoreError: no such files were found.
    """
    if source.is_file():
        if source.suffix.lower() != ".pt":
            raise RestoreError(f"{source}: neither a folder of pictures nor a .pt file; give one")
        return [source]
    try:
        files = sorted(file for file in source.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise RestoreError(f"{source}: {(error.strerror or 'cannot be read').lower()}; give another folder") from error
    pictures = [file for file in files if images.is_image(file)]
    palette = [file for file in pictures if file.name.startswith(PALETTE)]
    found = _stacks(source, files) or palette or pictures
    if not found:
        raise RestoreError(f"{source}: contains neither pictures nor recon.pt or recon_*.pt; give the folder that does")
    return found


def _stacks(folder: Path, files: Sequence[Path]) -> list[Path]:
    """I2SB's recon.pt or else its parts in order: recon_I_N.pt, part I of N, or recon_I.pt.

    Raises:
        RestoreError: parts are missing, or from several runs.
    """
    whole = [file for file in files if file.name == "recon.pt"]
    if whole:
        return whole
    names = [(re.fullmatch(r"recon_([0-9]+)(?:_([0-9]+))?\.pt", file.name), file) for file in files]
    parts = sorted(([int(n) for n in match.groups() if n], file) for match, file in names if match)
    numbers = [number for number, _ in parts]
    if any(len(number) == 2 for number in numbers) and numbers != [[i, len(parts)] for i in range(len(parts))]:
        raise RestoreError(f"{folder}: its recon_I_N.pt are not the N parts of one run; keep only those")
    return [file for _, file in parts]


def _match(source: Path, shapes: Sequence[Shape]) -> dict[str, Result]:
    """Matches results to pictures: one for each, of its size, by the pictures' names.

    Raises:
        RestoreError: the results do not match.
    """
    files, sizes = _files(source), {shape.name: shape.size for shape in shapes}
    results = _stacked(source, files, sorted(sizes)) if files[0].suffix.lower() == ".pt" else _by_name(files)
    if missing := [name for name in sizes if name not in results]:
        raise RestoreError(f"{source}: no result for '{missing[0]}'{_more(missing)}; name each after its picture")
    if unknown := [name for name in results if name not in sizes]:
        raise RestoreError(f"{source}: '{unknown[0]}'{_more(unknown)} belongs to no picture; remove it")
    if wrong := [name for name, size in sizes.items() if results[name].size() != size]:
        first = wrong[0]
        actual, wanted = (f"{width}x{height}" for height, width in (results[first].size(), sizes[first]))
        raise RestoreError(
            f"{source}: the result for '{first}' is {actual}, not {wanted}{_more(wrong)}; restore the bench's pictures"
        )
    return results


def _more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _by_name(files: Sequence[Path]) -> dict[str, Result]:
    """Picture files by the names of the pictures.

    Raises:
        RestoreError: two have the same name.
    """
    found: dict[str, Path] = {}
    for file in files:
        name = file.stem.removeprefix(PALETTE)
        if name in found:
            raise RestoreError(f"{file}: '{name}' has another result, {found[name].name}; remove one of them")
        found[name] = file
    return {name: PictureFile(file) for name, file in found.items()}


def _stacked(source: Path, files: Sequence[Path], names: Sequence[str]) -> dict[str, Result]:
    """The images of .pt files, in order, by the sorted names.

    Raises:
        RestoreError: a file has no images, or the number of images is not that of the names.
    """
    stacks = [_read_stack(file) for file in files]
    count = sum(map(len, stacks))
    if count != len(names):
        raise RestoreError(f"{source}: {count} results for {len(names)} pictures; restore only those of the bench")
    for file, stack in zip(files, stacks, strict=True):
        _check_values(file, stack)
    return dict(zip(names, map(Slice, itertools.chain(*stacks)), strict=True))


def _read_stack(file: Path) -> Tensor:
    """Reads `arr`, floats (N, 3, H, W), as saved by I2SB's sample.py. Code in the file is not run.

    Raises:
        RestoreError: the file has other contents.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it then rejects
            # a set of ImageNet's size would fill the memory; torch memory-maps only the newer of its two formats
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except OSError as error:
        raise RestoreError(f"{file}: {(error.strerror or 'cannot be read').lower()}; get it again") from error
    except Exception as error:  # damaged bytes make torch raise anything
        code = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"contains code, not only tensors ({code[1]})" if code else "not a torch.save file, or damaged"
        raise RestoreError(f"{file}: {reason}, not loaded; get the file that I2SB's sample.py wrote") from error
    stack = content.get("arr") if isinstance(content, dict) else None
    if not isinstance(stack, Tensor):
        raise RestoreError(f"{file}: has no tensor 'arr'; get the file that I2SB's sample.py wrote")
    plain = stack.is_floating_point() and stack.layout == torch.strided and stack.device.type == "cpu"
    if not plain or stack.ndim != 4 or stack.shape[1] != 3 or not stack.numel():
        kind = f"{str(stack.dtype).removeprefix('torch.')} {tuple(stack.shape)}"
        raise RestoreError(f"{file}: its 'arr' is {kind}, not floats (N, 3, H, W)")
    return stack.detach()


def _check_values(file: Path, stack: Tensor) -> None:
    """Rejects NaN, and values far outside [-1, 1]."""
    for number, pixels in enumerate(stack):
        low, high = (float(value) for value in pixels.float().aminmax())
        if not (low >= -MAX_ABS and high <= MAX_ABS):
            found = "NaN" if math.isnan(low) else f"values from {low:.4g} to {high:.4g}"
            raise RestoreError(f"{file}: image {number} (counted from 0) has {found}; I2SB's are in [-1, 1]")
