"""Blur kernels as people give them: a text, a picture, an array or a tensor."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import images
from ..errors import RestoreError
from ..operators import kernels

AUTO = "auto"
MOST = 255  # pixels: the longest side
PHOTO = 31  # pixels a side: larger pictures that are not black at the edges are taken for photographs
FORMS = "gaussian:2, motion:15:30, disk:4, the file of a kernel's picture, or auto"


def as_kernel(kernel: Any) -> Tensor:
    """The kernel (h, w), of odd sides and with sum 1.

    Args:
        kernel: a text such as "gaussian:2", "motion:15:30" (length and angle) or "disk:4"; the path of a picture whose
            lightness is the kernel; or such a picture: a PIL image, an array or a tensor (h, w).

    Raises:
        RestoreError: it is none of these, has a wrong shape, negative values or no positive one, is too large, or is
            the file of a photograph.
    """
    if isinstance(kernel, str) and kernels.is_named(kernel):
        return kernels.named(kernel)
    name = f"kernel {kernel}" if isinstance(kernel, str | Path) else "kernel"
    values = torch.as_tensor(_values(kernel), dtype=torch.float32).cpu()
    if values.ndim != 2 or max(values.shape) > MOST:
        raise RestoreError(f"{name}: has the shape {tuple(values.shape)}; give (h, w), at most {MOST} pixels each")
    total = float(values.sum())
    if not math.isfinite(total) or total <= 0 or float(values.min()) < 0:
        raise RestoreError(f"{name}: its values must not be negative, and some must be positive")
    return kernels.normalised(values)


def _values(kernel: Any) -> np.ndarray | Tensor:
    if isinstance(kernel, str | Path):
        kernel = _read(kernel)
    if isinstance(kernel, Image.Image):
        kernel = np.asarray(kernel.convert("F" if kernel.mode in ("F", "I", "I;16") else "L"))
    if isinstance(kernel, np.ndarray | Tensor):
        return kernel if isinstance(kernel, Tensor) else kernel.astype(np.float32)
    raise RestoreError(f"kernel: a {type(kernel).__name__} is not a kernel; give {FORMS}, or an array (h, w)")


def _read(path: str | Path) -> np.ndarray:
    """The lightness of a picture's file."""
    if not Path(path).is_file():
        raise RestoreError(f"kernel {path}: {'is a folder' if Path(path).is_dir() else 'no such file'}; give {FORMS}")
    pixels = images.read(path).pixels.astype(np.float32)
    values: np.ndarray = pixels.mean(2) if pixels.ndim == 3 else pixels
    frame = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if min(values.shape) > PHOTO and frame.mean() > values.max() / 10:
        raise RestoreError(
            f"kernel {path}: looks like a photograph; a kernel is light on black, and black at the edges"
        )
    return values
