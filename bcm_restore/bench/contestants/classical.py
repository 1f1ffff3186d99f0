"""Baselines without a network."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage.restoration import inpaint_biharmonic, richardson_lucy, unsupervised_wiener

from ...simulation.degradations import Example
from ..base import Case, Contestant, Sample

RADIUS = 3.0  # pixels; the neighbourhood that OpenCV's methods use

Method = Callable[[Example], np.ndarray]  # -> restored picture, uint8


class Classical(Contestant):
    """A function of the damaged picture and the parameters of its degradation.

    Args:
        task: the task that it is for.
        name: the method's name.
        method: the function.
        nfe: its network evaluations.
    """

    def __init__(self, task: str, name: str, method: Method, nfe: int = 0) -> None:
        self.name = self.family = name
        self.nfe, self._task, self._method = nfe, task, method

    def identity(self) -> dict[str, Any]:
        """The method's name."""
        return {"name": self.name}

    def suits(self, case: Case) -> bool:
        """Cases of its task."""
        return case.task == self._task

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The restored picture (H, W, 3) uint8; for an interpolation the frames side by side (H, frames W, 3)."""
        return self._method(sample.example)


def classical(task: str) -> list[Contestant]:
    """The methods for a task; may be empty."""
    found: list[Contestant] = [Classical(task, name, method) for name, method in METHODS.get(task, {}).items()]
    if task == "denoise":
        from .denoisers import denoisers

        found += denoisers()
    if task == "super-resolve":
        from .enlargers import enlargers

        found += enlargers()
    return found


def opencv(flag: int) -> Method:
    """OpenCV's inpainting: Telea 2004 (fast marching) or Bertalmio, Bertozzi and Sapiro 2001 (Navier-Stokes)."""
    return lambda example: cv2.inpaint(example.damaged, example.inputs["mask"].astype(np.uint8), RADIUS, flag)


def biharmonic(example: Example) -> np.ndarray:
    """Solves the biharmonic equation in the hole, with known pixels as its boundary (Damelin and Hoang 2018).

    One sparse system per channel: time and memory grow faster than the hole.
    """
    filled = inpaint_biharmonic(example.damaged, example.inputs["mask"], channel_axis=-1)
    return np.rint(filled * 255).astype(np.uint8)


def unchanged(example: Example) -> np.ndarray:
    """The damaged picture itself."""
    return example.damaged


def resized(filter_: Image.Resampling) -> Method:
    """Upsamples to the size of the clean picture with one of Pillow's filters."""

    def method(example: Example) -> np.ndarray:
        height, width = example.clean.shape[:2]
        return np.asarray(Image.fromarray(example.damaged).resize((width, height), filter_))

    return method


def wiener(example: Example) -> np.ndarray:
    """scikit-image's Wiener filter, which estimates noise and regularisation (Orieux et al. 2010)."""
    return _deconvolved(example, lambda plane, kernel: unsupervised_wiener(plane, kernel, rng=0)[0])


def lucy(example: Example) -> np.ndarray:
    """Richardson-Lucy, 30 iterations."""
    return _deconvolved(example, lambda plane, kernel: richardson_lucy(plane, kernel, num_iter=30))


def _deconvolved(example: Example, method: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Deconvolves each channel (H, W) in [0, 1], extended by reflection against ringing from the frame."""
    kernel, edge = example.inputs["kernel"].astype(np.float64), 2 * max(example.inputs["kernel"].shape)
    planes = np.pad(example.damaged, ((edge, edge), (edge, edge), (0, 0)), "symmetric").astype(np.float64) / 255
    inner = slice(edge, -edge)
    found = np.stack([method(plane, kernel)[inner, inner] for plane in np.moveaxis(planes, 2, 0)], 2)
    return np.rint(found.clip(0, 1) * 255).astype(np.uint8)


def cross_fade(example: Example) -> np.ndarray:
    """Frames (1 - w) a + w b between a pair (2, H, W, 3), the pair included, side by side."""
    a, b = example.damaged.astype(np.float64)
    weights = np.linspace(0, 1, example.inputs["frames"])
    return np.concatenate([np.rint((1 - w) * a + w * b) for w in weights], axis=1).astype(np.uint8)


METHODS: dict[str, dict[str, Method]] = {
    "inpaint": {
        "Telea": opencv(cv2.INPAINT_TELEA),
        "Navier-Stokes": opencv(cv2.INPAINT_NS),
        "biharmonic": biharmonic,
    },
    "jpeg": {"the JPEG itself": unchanged},
    "super-resolve": {
        "bicubic": resized(Image.Resampling.BICUBIC),
        "Lanczos": resized(Image.Resampling.LANCZOS),
    },
    "denoise": {"the noisy picture": unchanged},
    "colorize": {"the grey picture itself": unchanged},
    "deblur": {
        "the blurred picture": unchanged,
        "Wiener": wiener,
        "Richardson-Lucy, 30 iterations": lucy,
    },
    "interpolate": {"cross-fade": cross_fade},
}
