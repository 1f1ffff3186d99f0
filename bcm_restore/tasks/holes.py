"""Converts masks of any type to holes: bool tensors, True where a pixel is unknown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import masks
from ..errors import RestoreError
from ..images.channels import split
from .arrays import AnyImage

Array = TypeVar("Array", np.ndarray, Tensor)
Planes = tuple[np.ndarray, np.ndarray | None]  # pixels and transparency, as `masks.marked` takes them


def as_hole(mask: Any, size: Sequence[int], photos: Sequence[np.ndarray] = ()) -> Tensor:
    """Converts a mask of any type to the hole of an image of `size` (..., H, W).

    Args:
        mask: bool, True where the image is to be filled; or, as `masks.marked` reads it, the file of a mask, a PIL
            image, an array (H, W[, 1 to 4]) or a tensor ([B,] 1 to 4, H, W) of integers or of floats.
        size: of the image.
        photos: the images, for masks that are painted on copies of them.

    Returns:
        (1 or B, 1, H, W) bool.

    Raises:
        RestoreError: the mask is missing, is a picture, has another size, or leaves an image without known pixels.
    """
    if mask is None:
        raise RestoreError("inpaint needs a mask: True or white where the picture is to be filled")
    if isinstance(mask, str | Path):
        found = [masks.read(mask, *photos[:1]).hole]
    elif isinstance(mask, Image.Image):
        found = [_marked(_from_pil(mask), photos[:1])]
    else:
        found = _found(mask, (int(size[-2]), int(size[-1])), photos)
    for hole in found:
        if hole.shape != tuple(size[-2:]):
            sizes = [f"{shape[-1]}x{shape[-2]}" for shape in (hole.shape, size)]
            raise RestoreError(f"the mask is {sizes[0]} and the image {sizes[1]}; make them the same size")
        if hole.all():
            raise RestoreError("the mask covers the whole image; leave some pixels unmarked")
    return torch.from_numpy(np.stack(found))[:, None]


def to_integers(image: AnyImage) -> list[np.ndarray]:
    """Converts the images of a batch to integers (H, W[, 3]), for masks that are painted on copies of them."""
    if isinstance(image, Image.Image):
        return [np.asarray(image.convert("RGB"))]
    array = image.detach().cpu().movedim(-3, -1).numpy() if isinstance(image, Tensor) else image
    if array.ndim == 4:
        return [one for part in array for one in to_integers(part)]
    if np.issubdtype(array.dtype, np.floating):
        array = np.rint(np.nan_to_num(array, posinf=0.0).clip(0, 1) * 255).astype(np.uint8)
    return [array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array]


def shaped_like(hole: Tensor, image: Array) -> Array:
    """Converts a hole (1 or B, 1, H, W) to the type and axes of an array ([B,] H, W[, C]) or tensor ([B,] C, H, W)."""
    if isinstance(image, Tensor):
        return hole.to(image.device)[0 if image.ndim == 3 else slice(None)]
    planes = hole[:, 0].numpy()
    return planes[..., None] if image.ndim == 4 else planes[0].reshape(planes.shape[1:] + (1,) * (image.ndim - 2))


def make_finite(image: np.ndarray | Tensor, hole: Tensor) -> np.ndarray | Tensor:
    """Replaces NaN and infinite values in the hole by zero."""
    if isinstance(image, Tensor):
        return image.masked_fill(shaped_like(hole, image) & ~image.isfinite(), 0)
    if not np.issubdtype(image.dtype, np.floating):
        return image
    return np.where(shaped_like(hole, image) & ~np.isfinite(image), image.dtype.type(0), image)


def _found(mask: Any, size: tuple[int, int], photos: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The holes of an array or a tensor, one per image."""
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    batch = _channels_last(array, size)
    if array.dtype == bool:
        return [one.any(2) for one in batch]
    own = [photos[n : n + 1] for n in range(len(batch))]
    return [_marked(_planes(_integers(one)), photo) for one, photo in zip(batch, own, strict=True)]


def _marked(planes: Planes, photo: Sequence[np.ndarray]) -> np.ndarray:
    with masks.named("the mask"):
        found = masks.marked(*planes, photo=photo[0] if len(photo) else None)
    masks.warn_if_inverted(found, "the mask")
    return found.hole


def _channels_last(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Converts a mask (H, W), or with channels first or last, or a batch, to (B, H, W, channels)."""
    if array.ndim == 2:
        return array[None, :, :, None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise RestoreError(f"a mask cannot have shape {array.shape}; give it as (H, W)")
    last = array.shape[1:3] == size or (array.shape[2:] != size and array.shape[3] <= 4)
    array = array if last else array.transpose(0, 2, 3, 1)
    if not 1 <= array.shape[3] <= 4:
        raise RestoreError(f"a mask has 1 to 4 channels, not {array.shape[3]}; give it as (H, W)")
    return array


def _integers(array: np.ndarray) -> np.ndarray:
    """Converts values of any type to uint8 or uint16, rounded up, so that only 0 becomes 0.

    Raises:
        RestoreError: values are NaN, infinite, negative or above 65535.
    """
    low, high = array.min(initial=0), array.max(initial=0)
    if not (low >= 0 and high <= 65535):  # true for NaN
        raise RestoreError(f"the mask's values range from {low:g} to {high:g}; give it as bool, True where to fill")
    if array.dtype in (np.uint8, np.uint16):
        return array
    if np.issubdtype(array.dtype, np.floating) and high <= 1:
        return np.ceil(array * 65535.0).astype(np.uint16)
    return np.ceil(array).astype(np.uint8 if high <= 255 else np.uint16)


def _planes(array: np.ndarray) -> Planes:
    """Splits (H, W, 1 to 4) into colours and transparency."""
    channels = array.shape[2]
    colours = array[:, :, :3] if channels > 2 else array[:, :, 0]
    return np.ascontiguousarray(colours), np.ascontiguousarray(array[:, :, -1]) if channels in (2, 4) else None


def _from_pil(mask: Image.Image) -> Planes:
    if mask.mode in ("I", "F") or mask.mode.startswith("I;16"):
        return _integers(np.asarray(mask)), None
    return split(mask.convert("RGB") if mask.mode in ("CMYK", "YCbCr", "HSV", "LAB") else mask)
