"""Simulated degradations, as named variants of each task, of clean pictures that serve as references."""

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .. import images
from ..errors import RestoreError
from .blur import MakeKernel, fixed, shake
from .masks import MASKS, MakeMask, boxes, random_80, text
from .noise import sensor_noise, white_noise


@dataclass(frozen=True, eq=False)
class Example:
    """A damaged picture and its clean reference.

    Attributes:
        damaged: (h, w, 3) uint8, the input of `Task.restore`; (2, H, W, 3) for a pair of pictures.
        inputs: its other arguments: the mask, the coefficients, the scale and its kernel, the noise, the kernel of a
            blur, or the number of frames.
        clean: (H, W, 3) uint8; for a pair both side by side, (H, 2W, 3).
        where: (H, W) bool, the damaged pixels; None: all.
        data: the damaged file, if it holds more than its pixels: JPEG.
    """

    damaged: np.ndarray
    clean: np.ndarray
    inputs: dict[str, Any] = field(default_factory=dict)
    where: np.ndarray | None = None
    data: bytes | None = None


Degradation = Callable[[np.ndarray, np.random.Generator], Example]  # of a clean picture (H, W, 3) uint8

SMALLEST = 64  # the least side of a picture for all degradations
BORDER = 13  # pixels that blurred pictures lose on each side: the largest kernel reaches as far
FRAMES = 9  # of an interpolation, both ends included


def masked(make_mask: MakeMask) -> Degradation:
    """Makes the pixels that the mask marks black."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        mask = make_mask(rng, (clean.shape[0], clean.shape[1]))
        damaged = np.where(mask[..., None], 0, clean).astype(np.uint8)
        return Example(damaged, clean, {"mask": mask}, mask)

    return degrade


def compressed(quality: int, highest: int | None = None, *, pixels_only: bool = False) -> Degradation:
    """Compresses by Pillow's JPEG encoder at that quality, 1 to 100, or at one drawn from `quality` to `highest`.

    With `pixels_only`, the coefficients are left out: they need jpeglib, and most of the time.
    """

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        file = io.BytesIO()
        drawn = quality if highest is None else int(rng.integers(quality, highest + 1))
        Image.fromarray(clean).save(file, "JPEG", quality=drawn)
        if pixels_only:
            return Example(np.asarray(Image.open(file)), clean, data=file.getvalue())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.jpg"
            path.write_bytes(file.getvalue())
            inputs = {"coefficients": images.jpeg_coefficients(path)}
            return Example(images.read(path).pixels, clean, inputs, data=file.getvalue())

    return degrade


def downscaled(scale: int, kernel: str = "bicubic") -> Degradation:
    """Downscales by Pillow's bicubic filter ("bicubic") or by averaging scale x scale pixels ("box").

    The clean picture is cropped to multiples of the scale.
    """

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        height, width = (side // scale for side in clean.shape[:2])
        clean = np.ascontiguousarray(clean[: height * scale, : width * scale])
        image = Image.fromarray(clean)
        # Pillow's own box filter rounds twice, once for each axis.
        small = image.reduce(scale) if kernel == "box" else image.resize((width, height), Image.Resampling.BICUBIC)
        return Example(np.asarray(small), clean, {"scale": scale, "kernel": kernel})

    return degrade


def small_jpeg(scale: int, quality: int) -> Degradation:
    """Downscales by Pillow's bicubic filter, then compresses at that quality, as `compressed`."""
    downscale, compress = downscaled(scale), compressed(quality)

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        small = downscale(clean, rng)
        example = compress(small.damaged, rng)
        return replace(example, clean=small.clean, inputs={**small.inputs, **example.inputs})

    return degrade


def then_noisy(degradation: Degradation, sigma: float) -> Degradation:
    """Degrades, then adds white noise of that standard deviation to the known pixels; nothing is said about it."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        example = degradation(clean, rng)
        damaged = white_noise(example.damaged, sigma, rng)
        if example.where is not None:
            damaged[example.where] = 0
        return replace(example, damaged=damaged)

    return degrade


def noisy(sigma: float) -> Degradation:
    """Adds white Gaussian noise of that standard deviation, in 8-bit steps; see `white_noise`."""

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        return Example(white_noise(clean, sigma, rng), clean, {"sigma": sigma})

    return degrade


def sensor(shot: float = 0.01, read: float = 0.01) -> Degradation:
    """Takes the picture with a noisy sensor; the clean picture is that of the same sensor without noise.

    The level of the noise is not among the inputs: it differs between pixels. See `sensor_noise`.
    """

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        return Example(*sensor_noise(clean, shot, read, rng))

    return degrade


def grey(clean: np.ndarray, rng: np.random.Generator) -> Example:
    """The luma in all three channels, rounded as Pillow does it."""
    luma = np.asarray(Image.fromarray(clean).convert("L"))
    return Example(np.repeat(luma[..., None], 3, axis=2), clean)


def blurred(make_kernel: MakeKernel, noise: int = 0) -> Degradation:
    """Blurs, adds noise of that standard deviation, in 8-bit steps, and rounds.

    Only the pixels BORDER inside the frame are kept, so that those near their edges depend on what lies outside.
    """

    def degrade(clean: np.ndarray, rng: np.random.Generator) -> Example:
        kernel = make_kernel(rng)
        # OpenCV correlates, from the kernel's centre
        image = cv2.filter2D(clean.astype(np.float32), -1, np.ascontiguousarray(kernel[::-1, ::-1]))
        inside = slice(BORDER, clean.shape[0] - BORDER), slice(BORDER, clean.shape[1] - BORDER)
        noisy = image[inside] + noise * rng.normal(size=image[inside].shape)
        damaged = np.rint(noisy).clip(0, 255).astype(np.uint8)
        return Example(damaged, np.ascontiguousarray(clean[inside]), {"kernel": kernel, "noise": noise})

    return degrade


def picture_pair(strip: np.ndarray, rng: np.random.Generator) -> Example:
    """Splits two pictures side by side, (H, 2W, 3), into a pair to interpolate between."""
    return Example(np.stack(np.split(strip, 2, axis=1)), strip, {"frames": FRAMES})


VARIANTS: dict[str, dict[str, Degradation]] = {
    "inpaint": {"text": masked(text), "boxes": masked(boxes), "random-80": masked(random_80)},
    "jpeg": {f"quality-{quality}": compressed(quality) for quality in (10, 20, 40)},
    "super-resolve": {f"x{scale}": downscaled(scale) for scale in (2, 3, 4, 8)},
    "denoise": {**{f"sigma-{sigma}": noisy(sigma) for sigma in (10, 15, 25, 50)}, "sensor": sensor()},
    "colorize": {"luma": grey},
    "deblur": {
        "gaussian-1.6": blurred(fixed("gaussian:1.6")),
        "gaussian-2.5": blurred(fixed("gaussian:2.5"), noise=2),
        "motion": blurred(shake, noise=2),
        "disk-3": blurred(fixed("disk:3")),
    },
}


def variants(task: str, chosen: list[str] | None = None) -> dict[str, Degradation]:
    """The degradations of a task: the chosen ones, or all.

    Raises:
        RestoreError: the task has none, or none of that name.
    """
    if task not in VARIANTS:
        why = "its frames have no reference pictures" if task == "interpolate" else "it has no simulated degradation"
        raise RestoreError(f"{task} cannot be tuned: {why}; --task is one of {', '.join(VARIANTS)}")
    known = VARIANTS[task]
    for name in chosen or []:
        if name not in known:
            raise RestoreError(f"--variant {name}: {task} has {', '.join(known)}")
    return {name: known[name] for name in chosen or known}


TRAINED: dict[str, dict[str, Degradation]] = {
    "inpaint": {name: masked(mask) for name, mask in MASKS.items()},
    "jpeg": {
        **{f"quality-{quality}": compressed(quality, pixels_only=True) for quality in (10, 20, 40)},
        "quality-5-40": compressed(5, 40, pixels_only=True),
    },
}  # besides the variants, or instead of them, for models that are trained for one kind of damage


def degradations(task: str, chosen: Sequence[str]) -> dict[str, Degradation]:
    """The degradations of a task that models are trained for: its variants, and those that are drawn from a range.

    Raises:
        RestoreError: the task has none, or none of that name.
    """
    known = {**VARIANTS.get(task, {}), **TRAINED.get(task, {})}
    if not known:
        raise RestoreError(f"'damage.task' is {task!r}; choose one of {', '.join(VARIANTS)}")
    for name in chosen:
        if name not in known:
            raise RestoreError(f"'damage.cases' has {name!r}; {task} has {', '.join(known)}")
    return {name: known[name] for name in chosen}
