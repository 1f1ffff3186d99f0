"""Converts images of any type (PIL, NumPy, torch) to tensors for the schemes, and results back to the input's type."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import RestoreError
from ..large import BandImage, DiskImage

AnyImage = Image.Image | np.ndarray | Tensor
FromTensor = Callable[[Tensor], Any]  # (B, 3, H, W) in [-1, 1] to the input's type

_SLACK = 2e-5  # for rounding errors, in [-1, 1]


def to_tensor(image: AnyImage) -> tuple[Tensor, FromTensor]:
    """Converts an image of any type to a tensor.

    Args:
        image: a PIL image, see `pil.from_pil`; a NumPy array (H, W), (H, W, 1) or (H, W, 3) of uint8, uint16 or floats
            in [0, 1], in any byte order; or a torch tensor (1 or 3, H, W) or (B, 1 or 3, H, W) of uint8, uint16 or
            floats in [0, 1]. The range of floats is not checked: see `check_values`.

    Returns:
        The image as (B, 3, H, W) float32 in [-1, 1], and the function that converts such a tensor of any height and
        width back: same type, channels, dtype and device as the input. Neither direction passes gradients.

    Raises:
        RestoreError: the image has another type, dtype or shape.
    """
    check_kind(image)
    if isinstance(image, Image.Image):
        from .pil import from_pil

        return from_pil(image)
    return _from_numpy(image) if isinstance(image, np.ndarray) else _from_torch(image)


def check_kind(image: AnyImage) -> None:
    """Refuses images that `to_tensor` refuses because of their type or axes, without reading their values.

    Raises:
        RestoreError: the type is not an image, or the channels are on the wrong axis; says which axis is right.
    """
    if isinstance(image, np.ndarray):
        _channels_last(image)
    elif isinstance(image, Tensor):
        _channels_first(image)
    elif not isinstance(image, Image.Image):
        raise RestoreError(
            f"{type(image).__name__} is not a picture; give a PIL image, a NumPy array or a torch tensor"
        )


def size_of(image: AnyImage) -> tuple[int, int]:
    """The height and width.

    Raises:
        RestoreError: the type is not an image.
    """
    if isinstance(image, Image.Image):
        return image.height, image.width
    if not isinstance(image, np.ndarray | Tensor) or image.ndim < 2:
        check_kind(image)
    last = isinstance(image, np.ndarray)
    height, width = image.shape[max(image.ndim - 3, 0) :][:2] if last else image.shape[-2:]
    return height, width


def is_one(image: AnyImage) -> bool:
    """Whether an image is a single one, not a batch."""
    if isinstance(image, Tensor):
        return image.ndim == 3 or (image.ndim == 4 and len(image) == 1)
    return isinstance(image, Image.Image) or image.ndim in (2, 3)


def as_array(image: AnyImage) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """Converts one image to a NumPy array that `to_tensor` takes; also returns the function that converts it back."""
    if isinstance(image, Image.Image):
        from .pil import pil_array

        return pil_array(image)
    if isinstance(image, np.ndarray):
        return image, lambda array: array
    pixels, like = image.detach().reshape(image.shape[-3:]).movedim(0, -1).cpu(), image
    array = (pixels.float() if pixels.dtype == torch.bfloat16 else pixels).numpy()

    def to_torch(restored: np.ndarray) -> Tensor:
        planes = torch.from_numpy(restored).movedim(-1, 0)
        return planes.reshape(*like.shape[:-2], *planes.shape[1:]).to(like.device, like.dtype)

    return array, to_torch


class ArrayImage(BandImage):
    """A NumPy array that `to_tensor` takes, read as (1, 3, h, w) in [-1, 1]."""

    def __init__(self, array: np.ndarray, device: torch.device | str = "cpu") -> None:
        self.array, self.size, self.device = array, (array.shape[0], array.shape[1]), device

    def read(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """A copy of the region."""
        return to_tensor(self.array[rows, columns])[0].to(self.device)

    def on(self, device: torch.device) -> "ArrayImage":
        """The same image, read to another device."""
        return ArrayImage(self.array, device)


def from_disk(image: DiskImage, like: np.ndarray) -> np.ndarray:
    """Reads an image on disk into an array with the channels and the dtype of `like`."""
    _, from_tensor = to_tensor(like[:1, :1])
    out = np.empty((*image.size, *like.shape[2:]), like.dtype)
    for rows in image.bands():
        out[rows] = from_tensor(image.read(rows))
    return out


def check_values(x: Tensor, ignored: Tensor | None = None) -> None:
    """Refuses tensors from `to_tensor` whose floats were NaN, infinite or out of range.

    Args:
        x: (B, 3, H, W), from values that should be in [0, 1].
        ignored: (B or 1, 1, H, W) bool, pixels that are not checked.

    Raises:
        RestoreError: values are NaN or infinite, or outside [0, 1]; gives their number or their range.
    """
    seen = x if ignored is None else x.masked_fill(ignored.to(x.device), 0.0)
    low, high = seen.aminmax()
    if low >= -1 - _SLACK and high <= 1 + _SLACK:  # false for NaN
        return
    if broken := int((~seen.isfinite()).any(1).sum()):
        raise RestoreError(f"{broken} of its pixels are NaN or infinite; give them values, or mark them in a mask")
    first, last = (float(end + 1) / 2 for end in (low, high))
    raise RestoreError(f"its floats range from {first:.5g} to {last:.5g}; scale or clip them to [0, 1]")


def _from_numpy(array: np.ndarray) -> tuple[Tensor, FromTensor]:
    shaped = _channels_last(array)
    scale = _scale(array.dtype.name, array)
    planes = torch.from_numpy(_widen(shaped)).permute(2, 0, 1)[None]
    tensor = _normalise(planes, scale)

    def to_numpy(result: Tensor) -> np.ndarray:
        planes = _denormalise(result, shaped.shape[2], scale)[0]
        out = planes.permute(1, 2, 0).cpu().numpy().astype(array.dtype)
        return out[:, :, 0] if array.ndim == 2 else out

    return tensor, to_numpy


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Adds the channel axis: (H, W, 1 or 3)."""
    shaped = array[:, :, None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3):
        raise RestoreError(_wrong_array(array.shape))
    _check_size(array.shape)
    return shaped


def _wrong_array(shape: tuple[int, ...]) -> str:
    """The message for an array whose shape is not that of an image."""
    what = f"array {shape} is not (H, W), (H, W, 1 or 3) or (N, H, W, 1 or 3)"
    if len(shape) >= 3 and shape[-3] in (1, 3):
        order = "1, 2, 0" if len(shape) == 3 else "0, 2, 3, 1"
        return f"{what}: NumPy arrays have their channels last; transpose({order}) moves them there"
    return f"{what}; remove the alpha channel first" if shape[-1:] in ((2,), (4,)) else what


def _from_torch(image: Tensor) -> tuple[Tensor, FromTensor]:
    batch = _channels_first(image)
    scale = 1.0 if image.is_floating_point() else _scale(str(image.dtype).removeprefix("torch."), image)

    def to_torch(result: Tensor) -> Tensor:
        out = _denormalise(result, batch.shape[1], scale).to(image.device, image.dtype)
        return out[0] if image.ndim == 3 else out

    return _normalise(batch.detach(), scale), to_torch


def _channels_first(image: Tensor) -> Tensor:
    """Adds the batch axis: (B, 1 or 3, H, W)."""
    if image.layout != torch.strided or image.is_meta:
        kind = "without values (device meta)" if image.is_meta else "that is sparse"
        raise RestoreError(f"a tensor {kind} is not a picture; give a dense one")
    batch = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[1] not in (1, 3):
        raise RestoreError(_wrong_tensor(tuple(image.shape)))
    _check_size(tuple(image.shape))
    return batch


def _wrong_tensor(shape: tuple[int, ...]) -> str:
    """The message for a tensor whose shape is not that of an image."""
    what = f"tensor {shape} is not (C, H, W) or (B, C, H, W) with 1 or 3 channels"
    if len(shape) in (3, 4) and shape[-1] in (1, 3):
        order = "2, 0, 1" if len(shape) == 3 else "0, 3, 1, 2"
        return f"{what}: tensors have their channels first; permute({order}) moves them there"
    return f"{what}; remove the alpha channel first" if len(shape) in (3, 4) and shape[-3] in (2, 4) else what


def _check_size(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise RestoreError(f"a picture of shape {shape} has no pixels")


def _widen(array: np.ndarray) -> np.ndarray:
    """What torch takes: its own byte order, no negative strides, writable, and hardly any uint16."""
    if array.dtype.name == "uint16":
        return np.ascontiguousarray(array).astype(np.int32)
    own = np.require(array.astype(array.dtype.newbyteorder("="), copy=False), requirements=["C", "W"])
    return own.copy() if min(own.strides) < 0 else own  # as single rows may have them


def _scale(dtype: str, values: np.ndarray | Tensor) -> float:
    """The value of white."""
    if dtype in ("float16", "float32", "float64"):
        return 1.0
    if dtype in ("uint8", "uint16"):
        return float(np.iinfo(dtype).max)
    hint = "use uint8, uint16 or floats in [0, 1]"
    if "int" not in dtype or not math.prod(values.shape):
        raise RestoreError(f"pictures of {dtype} are not supported; {hint}")
    found = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    raise RestoreError(f"pictures of {dtype} (here {found.min()} to {found.max()}) are not supported; {hint}")


def _normalise(planes: Tensor, scale: float) -> Tensor:
    return planes.float().div(scale / 2).sub_(1).expand(-1, 3, -1, -1).contiguous()


def _denormalise(x: Tensor, channels: int, scale: float) -> Tensor:
    x = x.mean(1, keepdim=True) if channels == 1 else x
    x = x.clamp(-1, 1).add_(1).mul_(scale / 2)
    return x if scale == 1 else x.round_()
