"""Inpainting: what a mask marks is filled, and every other pixel stays as it is, to the bit."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import RestoreError
from ..operators import Mask
from .arrays import AnyImage
from .base import Problem, Task
from .fill import smooth_fill

# A hole is wide where its pixels lie on average further than this from what is known, in pixels.
WIDE = 3.0


class SeamlessMask(Mask):
    """A mask whose `fit` leaves no seam around a hole.

    What an estimate gets wrong where the truth is known, it gets wrong beside it as well, a drift in colour above all:
    `fit` takes the error y - x at the known pixels, continues it smoothly into the hole, and adds it everywhere. Known
    pixels are y's as with `Mask`, and doing it twice is doing it once.
    """

    def fit(self, x: Tensor, y: Tensor) -> Tensor:
        """x + the smooth continuation of y - x."""
        return super().fit(x + fill_batch(y - x, ~self.known), y)


class Inpaint(Task):
    """The operator is the mask; the first estimate continues the known pixels smoothly, coarse to fine."""

    name = "inpaint"
    summary = "fills what a mask marks and leaves the rest as it is"

    def problem(self, image: Tensor, *, mask: Any = None, **inputs: Any) -> Problem:
        """The problem of filling the holes of `image` (B, 3, H, W).

        Args:
            image: in [-1, 1]; what it holds under the mask is not looked at.
            mask: True (or non-zero) where it is to be filled: an array or tensor (H, W), or (B, 1, H, W) with one mask
                an image.

        Raises:
            RestoreError: there is no mask, it has another size, or it leaves an image without a known pixel.
        """
        hole = as_mask(mask, image)
        wide = max(_depth(mask) for mask in hole[:, 0].cpu().numpy()) > WIDE
        operator = SeamlessMask(~hole) if wide else Mask(~hole)
        return Problem(operator, image, fill_batch(image, hole), case="wide" if wide else "thin")

    def finish(self, restored: Any, image: AnyImage, *, mask: Any = None, **inputs: Any) -> Any:
        """Floats don't survive the way to [-1, 1] and back to the last bit: known pixels come from the input."""
        if isinstance(image, np.ndarray):
            hole = np.asarray(mask, dtype=bool).reshape(image.shape[:2] + (1,) * (image.ndim - 2))
            return np.where(hole, restored, image)
        if isinstance(image, Tensor):
            return torch.where(
                as_mask(mask, image).to(image.device)[0 if image.ndim == 3 else slice(None)], restored, image
            )
        return restored


def as_mask(mask: Any, image: Tensor) -> Tensor:
    """A mask of any kind as bool (1 or B, 1, H, W) beside `image` ([B,] C, H, W).

    Raises:
        RestoreError: it is missing, has another size, or leaves an image without a known pixel.
    """
    if mask is None:
        raise RestoreError("inpaint needs a mask: True or white where the picture is to be filled")
    hole = torch.as_tensor(np.asarray(mask) if not isinstance(mask, Tensor) else mask).bool()
    hole = hole.reshape((1,) * (4 - hole.ndim) + tuple(hole.shape))
    if hole.shape[2:] != image.shape[-2:]:
        sizes = [f"{t.shape[-1]}x{t.shape[-2]}" for t in (hole, image)]
        raise RestoreError(f"the mask is {sizes[0]} and the image {sizes[1]}; make them the same size")
    if hole.flatten(1).all(1).any():
        raise RestoreError("the mask covers the whole image; leave some of it unmarked to continue from")
    return hole


def fill_batch(images: Tensor, hole: Tensor) -> Tensor:
    """The smooth fill of images (B, 3, H, W), unknown where hole (B or 1, 1, H, W) is True."""
    holes = hole.expand(len(images), -1, -1, -1)[:, 0].cpu().numpy()
    filled = torch.empty_like(images)
    for out, pixels, mask in zip(filled, images, holes, strict=True):
        solution = smooth_fill(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()), mask)
        out.copy_(torch.from_numpy(solution).permute(2, 0, 1))
    return filled


def _depth(hole: np.ndarray) -> float:
    """Mean distance of the unknown pixels from what is known, in pixels; 0 without any."""
    if not hole.any():
        return 0.0
    return float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)[hole].mean())
