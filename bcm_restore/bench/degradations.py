"""Damage done on purpose: what a task undoes, as named variants, to clean pictures that the result is compared with."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .. import images
from ..errors import RestoreError


@dataclass(frozen=True, eq=False)
class Example:
    """A damaged picture and what it should become.

    Attributes:
        damaged: (h, w, 3) uint8, what `Task.restore` is given.
        inputs: what it is given besides: the mask, the coefficients or the scale.
        clean: (H, W, 3) uint8.
        where: (H, W) bool, the pixels that were damaged; None: all.
    """

    damaged: np.ndarray
    clean: np.ndarray
    inputs: dict[str, Any] = field(default_factory=dict)
    where: np.ndarray | None = None


Degradation = Callable[[np.ndarray, np.random.Generator], Example]  # of a clean picture (H, W, 3) uint8
MakeMask = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]  # bool of that size, True where unknown

WORDS = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"
SMALLEST = 64  # side of a picture that every degradation can be done to


def text(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Lines of writing across the picture."""
    mask = np.zeros(size, np.uint8)
    for y in range(14, size[0], 21):
        cv2.putText(mask, WORDS, (int(rng.integers(-60, 20)), y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    return mask > 0


def boxes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """32x32 boxes, one for every 128x128 pixels; both sides are 49 or more."""
    mask = np.zeros(size, bool)
    for _ in range(max(1, size[0] * size[1] // 128**2)):
        y, x = (int(rng.integers(8, side - 40)) for side in size)
        mask[y : y + 32, x : x + 32] = True
    return mask


def random_80(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """80 % of the pixels."""
    return rng.random(size) >= 0.2


def holes(make_mask: MakeMask) -> Degradation:
    """Takes away what the mask marks."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        mask = make_mask(rng, clean.shape[:2])
        damaged = np.where(mask[..., None], 0, clean).astype(np.uint8)
        return Example(damaged, clean, {"mask": mask}, mask)

    return degrade


def compressed(quality: int) -> Degradation:
    """Saves as JPEG of that quality, 1 to 100, as Pillow does it."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.jpg"
            Image.fromarray(clean).save(path, quality=quality)
            return Example(images.read(path).pixels, clean, {"coefficients": images.jpeg_coefficients(path)})

    return degrade


def shrunk(scale: int) -> Degradation:
    """Scales down by Pillow's bicubic filter; the clean picture is cut to multiples of the scale."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        height, width = (side // scale for side in clean.shape[:2])
        clean = np.ascontiguousarray(clean[: height * scale, : width * scale])
        small = Image.fromarray(clean).resize((width, height), Image.Resampling.BICUBIC)
        return Example(np.asarray(small), clean, {"scale": scale})

    return degrade


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


def flat_picture(side: int) -> np.ndarray:
    """(side, side, 3) uint8: a grey that gently turns white. Bad schemes draw grids there, and means don't show it."""
    ramp = np.linspace(215, 265, side).clip(max=255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (side, side, 3)))
