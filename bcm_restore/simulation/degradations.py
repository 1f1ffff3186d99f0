"""Damage done on purpose: what a task undoes, as named variants, to clean pictures that the result is compared with."""

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import images
from ..errors import RestoreError
from .masks import MakeMask, boxes, random_80, text


@dataclass(frozen=True, eq=False)
class Example:
    """A damaged picture and what it should become.

    Attributes:
        damaged: (h, w, 3) uint8, what `Task.restore` is given; of a pair of pictures (2, H, W, 3).
        inputs: what it is given besides: the mask, the coefficients, the scale and its kernel, or the number of frames.
        clean: (H, W, 3) uint8; of a pair both side by side, (H, 2W, 3).
        where: (H, W) bool, the pixels that were damaged; None: all.
        data: the file that was damaged, where it holds more than its pixels: JPEG.
    """

    damaged: np.ndarray
    clean: np.ndarray
    inputs: dict[str, Any] = field(default_factory=dict)
    where: np.ndarray | None = None
    data: bytes | None = None


Degradation = Callable[[np.ndarray, np.random.Generator], Example]  # of a clean picture (H, W, 3) uint8

SMALLEST = 64  # side of a picture that every degradation can be done to
FRAMES = 9  # of an interpolation, both ends included


def holes(make_mask: MakeMask) -> Degradation:
    """Takes away what the mask marks: it becomes black."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        mask = make_mask(rng, (clean.shape[0], clean.shape[1]))
        damaged = np.where(mask[..., None], 0, clean).astype(np.uint8)
        return Example(damaged, clean, {"mask": mask}, mask)

    return degrade


def compressed(quality: int) -> Degradation:
    """Saves as JPEG of that quality, 1 to 100, as Pillow does it."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=quality)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.jpg"
            path.write_bytes(file.getvalue())
            inputs = {"coefficients": images.jpeg_coefficients(path)}
            return Example(images.read(path).pixels, clean, inputs, data=file.getvalue())

    return degrade


def shrunk(scale: int, kernel: str = "bicubic") -> Degradation:
    """Scales down by Pillow's bicubic filter ("bicubic") or to the means of scale x scale pixels ("box").

    The clean picture is cut to multiples of the scale.
    """

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        height, width = (side // scale for side in clean.shape[:2])
        clean = np.ascontiguousarray(clean[: height * scale, : width * scale])
        image = Image.fromarray(clean)
        # Pillow's own box filter rounds twice, once for each axis.
        small = image.reduce(scale) if kernel == "box" else image.resize((width, height), Image.Resampling.BICUBIC)
        return Example(np.asarray(small), clean, {"scale": scale, "kernel": kernel})

    return degrade


def parted(strip: np.ndarray, rng: np.random.Generator) -> Example:
    """Takes two pictures side by side (H, 2W, 3) apart: the frames between them are to be made."""
    return Example(np.stack(np.split(strip, 2, axis=1)), strip, {"frames": FRAMES})


VARIANTS: dict[str, dict[str, Degradation]] = {
    "inpaint": {"text": holes(text), "boxes": holes(boxes), "random-80": holes(random_80)},
    "jpeg": {f"quality-{quality}": compressed(quality) for quality in (10, 20, 40)},
    "super-resolve": {f"x{scale}": shrunk(scale) for scale in (2, 3, 4, 8)},
}


def variants(task: str, chosen: list[str] | None = None) -> dict[str, Degradation]:
    """The degradations of a task: those chosen, or all.

    Raises:
        RestoreError: the task has none, or not one of that name.
    """
    if task not in VARIANTS:
        why = "its frames have no picture to be compared with" if task == "interpolate" else "no damage is known for it"
        raise RestoreError(f"{task} can't be tuned: {why}; --task is one of {', '.join(VARIANTS)}")
    there = VARIANTS[task]
    for name in chosen or []:
        if name not in there:
            raise RestoreError(f"--variant {name}: {task} has {', '.join(there)}")
    return {name: there[name] for name in chosen or there}
