"""What other programs have restored: folders of pictures, Palette's among them, and the .pt files of I2SB."""

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

PALETTE = "Out_"  # what results begin with, beside GT_, Mask_ and Process_
FARTHEST = 4.0  # networks overshoot [-1, 1] a little; pictures in [0, 255] can't be missed


def outputs(spec: str, cases: Sequence[Case]) -> Contestant:
    """The results of another program as a contestant.

    Args:
        spec: "NAME[@NFE]=PATH". PATH is a folder of pictures with the names of the clean ones, of Palette's `Out_*`,
            or of I2SB's recon.pt or recon_*.pt; or one such .pt file. Where PATH has folders or .pt files named after
            cases, those are for these cases, and it does not take part in the others.
        cases: all that the bench runs.

    Raises:
        RestoreError: the spec is not of that form, PATH is not there, or it does not say which case it is for.
    """
    name, nfe, path = parse(spec)
    there = {case.name: own for case in cases if (own := _of_case(path, case.name))}
    if not there and len(cases) != 1:
        wanted = ", ".join(case.name for case in cases)
        raise RestoreError(
            f"--outputs {spec}: {path} has no folder named after a case; put the results of each into one: {wanted}"
        )
    return Outputs(name, nfe, there or {cases[0].name: path})


def parse(spec: str) -> tuple[str, int | None, Path]:
    """Name, NFE and path of "NAME[@NFE]=PATH".

    Raises:
        RestoreError: it is not of that form, or PATH is not there.
    """
    left, _, right = spec.partition("=")
    name, at, nfe = left.partition("@")
    name = name.strip()
    if not (name and name.isprintable() and right) or spec.splitlines() != [spec]:
        raise RestoreError(f"--outputs {spec!r}: is not of the form NAME=PATH or NAME@NFE=PATH; write i2sb@4=results/")
    if at and not re.fullmatch("0*[1-9][0-9]{0,8}", nfe):
        raise RestoreError(f"--outputs {spec}: the NFE '{nfe}' is not a positive integer; write {name}@4={right}")
    try:
        path = Path(right).expanduser()  # shells leave a ~ after = alone
        path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RestoreError(f"--outputs {spec}: {right}: {reason.lower()}; check the path") from error
    return name, int(nfe) if at else None, path


class Outputs(Contestant):
    """Reads what another program has restored; `check` of a case comes before `restore`.

    Args:
        name: of the method.
        nfe: network evaluations a picture, as the user says.
        sources: where the results of each case lie, by its name.
    """

    measured = False

    def __init__(self, name: str, nfe: int | None, sources: Mapping[str, Path]) -> None:
        self.name, self.family, self.nfe = name if nfe is None else f"{name}, NFE {nfe}", name, nfe
        self._sources = dict(sources)
        self._results: dict[str, dict[str, Result]] = {}

    def identity(self) -> dict[str, Any]:
        """Name, NFE, and a hash of the files of all cases.

        Raises:
            RestoreError: there are none, or one can't be read.
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
        """Cases that there are results of."""
        return case.name in self._sources

    def check(self, case: Case, shapes: Sequence[Shape]) -> None:
        """Makes sure that there is a result of the right size for each picture, and none besides.

        Raises:
            RestoreError: names the first that is missing, too many or of another size, and counts the rest.
        """
        try:
            self._results[case.name] = _assigned(self._sources[case.name], shapes)
        except RestoreError as error:
            raise RestoreError(f"{self.name}: {error}") from error

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The other program's picture (H, W, 3) uint8: without alpha, grey as RGB, 16 bits as 8.

        Raises:
            RestoreError: it is damaged.
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
        """As the header and the EXIF orientation have it.

        Raises:
            RestoreError: it is no picture.
        """
        try:
            with pillow_silenced(), Image.open(self.path) as image:
                width, height = image.size
                # Pillow gives the upright size of a TIFF, and decodes a whole PNG to look for EXIF after the pixels.
                hidden = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
                orientation = 1 if hidden else read_exif(image)[1]
        except Exception:  # whatever a decoder makes of damaged bytes
            return images.read(self.path).size  # says what is wrong with them
        return (width, height) if orientation >= 5 else (height, width)

    def read(self) -> np.ndarray:
        """The pixels.

        Raises:
            RestoreError: it is damaged, or not of the size that its header says.
        """
        picture = images.read(self.path)
        if picture.size != self.size():
            raise RestoreError(f"{self.path}: is turned by EXIF that follows the pixels; save it upright")
        return rgb(picture.pixels)


@dataclass(frozen=True, eq=False)
class Slice(Result):
    """A picture of a stack: floats (3, H, W) in about [-1, 1]."""

    pixels: Tensor

    def size(self) -> tuple[int, int]:
        """Of the tensor."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def read(self) -> np.ndarray:
        """Rounded to the nearest of 0 to 255."""
        levels = ((self.pixels.float() + 1) * 127.5).round().clamp(0, 255)
        return levels.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _of_case(path: Path, case: str) -> Path | None:
    """The folder or the .pt file of a case."""
    folder, stack = path / case, path / f"{case}.pt"
    return folder if folder.is_dir() else stack if stack.is_file() else None


def _files(source: Path) -> list[Path]:
    """The files that hold the results: pictures, or .pt files in the order of their parts.

    Raises:
        RestoreError: there are none.
    """
    if source.is_file():
        if source.suffix.lower() != ".pt":
            raise RestoreError(f"{source}: is neither a folder of pictures nor a .pt file; name one")
        return [source]
    try:
        files = sorted(file for file in source.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise RestoreError(f"{source}: {(error.strerror or 'cannot be read').lower()}; name another folder") from error
    pictures = [file for file in files if images.is_image(file)]
    palette = [file for file in pictures if file.name.startswith(PALETTE)]
    found = _stacks(source, files) or palette or pictures
    if not found:
        raise RestoreError(f"{source}: holds neither pictures nor recon.pt or recon_*.pt; name the folder that does")
    return found


def _stacks(folder: Path, files: Sequence[Path]) -> list[Path]:
    """I2SB's recon.pt or, without it, its parts in their order: recon_I_N.pt is part I of N, recon_I.pt does as well.

    Raises:
        RestoreError: parts are missing, or of several runs.
    """
    whole = [file for file in files if file.name == "recon.pt"]
    if whole:
        return whole
    names = [(re.fullmatch(r"recon_([0-9]+)(?:_([0-9]+))?\.pt", file.name), file) for file in files]
    parts = sorted(([int(n) for n in match.groups() if n], file) for match, file in names if match)
    numbers = [number for number, _ in parts]
    if any(len(number) == 2 for number in numbers) and numbers != [[i, len(parts)] for i in range(len(parts))]:
        raise RestoreError(f"{folder}: its recon_I_N.pt are not the N parts of one run; leave just those there")
    return [file for _, file in parts]


def _assigned(source: Path, shapes: Sequence[Shape]) -> dict[str, Result]:
    """The results by the pictures' names: one for each, of its size.

    Raises:
        RestoreError: that is not what is there.
    """
    files, sizes = _files(source), {shape.name: shape.size for shape in shapes}
    results = _stacked(source, files, sorted(sizes)) if files[0].suffix.lower() == ".pt" else _by_name(files)
    if missing := [name for name in sizes if name not in results]:
        raise RestoreError(f"{source}: no result for '{missing[0]}'{_more(missing)}; name each after its picture")
    if unknown := [name for name in results if name not in sizes]:
        raise RestoreError(f"{source}: '{unknown[0]}'{_more(unknown)} belongs to no picture; take it away")
    if wrong := [name for name, size in sizes.items() if results[name].size() != size]:
        first = wrong[0]
        there, wanted = (f"{width}x{height}" for height, width in (results[first].size(), sizes[first]))
        raise RestoreError(
            f"{source}: the result for '{first}' is {there}, its picture {wanted}{_more(wrong)}; restore the bench's"
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
            raise RestoreError(f"{file}: '{name}' has another result, {found[name].name}; take one of them away")
        found[name] = file
    return {name: PictureFile(file) for name, file in found.items()}


def _stacked(source: Path, files: Sequence[Path], names: Sequence[str]) -> dict[str, Result]:
    """The pictures of .pt files, one after the other, by the names in their order.

    Raises:
        RestoreError: a file does not hold pictures, or they are not as many as names.
    """
    stacks = [_read_stack(file) for file in files]
    count = sum(map(len, stacks))
    if count != len(names):
        raise RestoreError(f"{source}: {count} results for {len(names)} pictures; restore just those of the bench")
    for file, stack in zip(files, stacks, strict=True):
        _check_values(file, stack)
    return dict(zip(names, map(Slice, itertools.chain(*stacks)), strict=True))


def _read_stack(file: Path) -> Tensor:
    """What I2SB's sample.py saves as `arr`: floats (N, 3, H, W). Code in the file is not run.

    Raises:
        RestoreError: the file holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it then refuses
            # a set of ImageNet's size would fill the memory; torch maps only the newer of its two formats
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except OSError as error:
        raise RestoreError(f"{file}: {(error.strerror or 'cannot be read').lower()}; get it again") from error
    except Exception as error:  # whatever damaged bytes make of it
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code, not just tensors ({code[1]})" if code else "is not what torch.save writes, or damaged"
        raise RestoreError(f"{file}: {what}, and was not loaded; get the file that I2SB's sample.py wrote") from error
    stack = content.get("arr") if isinstance(content, dict) else None
    if not isinstance(stack, Tensor):
        raise RestoreError(f"{file}: holds no tensor 'arr'; get the file that I2SB's sample.py wrote")
    plain = stack.is_floating_point() and stack.layout == torch.strided and stack.device.type == "cpu"
    if not plain or stack.ndim != 4 or stack.shape[1] != 3 or not stack.numel():
        kind = f"{str(stack.dtype).removeprefix('torch.')} {tuple(stack.shape)}"
        raise RestoreError(f"{file}: its 'arr' is {kind}; pictures are floats (N, 3, H, W)")
    return stack.detach()


def _check_values(file: Path, stack: Tensor) -> None:
    """Refuses NaN, and values that can't be meant for [-1, 1]."""
    for number, pixels in enumerate(stack):
        low, high = (float(value) for value in pixels.float().aminmax())
        if not (low >= -FARTHEST and high <= FARTHEST):
            what = "NaN" if math.isnan(low) else f"values from {low:.4g} to {high:.4g}"
            raise RestoreError(f"{file}: picture {number}, counted from 0, holds {what}; I2SB's lie in [-1, 1]")
