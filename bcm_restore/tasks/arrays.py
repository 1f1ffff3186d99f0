"""Pictures as people hold them in Python, to the tensors that the schemes work on, and back to the same kind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import RestoreError
from ..rasters import Raster, bands

AnyImage = Image.Image | np.ndarray | Tensor
Back = Callable[[Tensor], Any]  # (B, 3, H, W) in [-1, 1] to what the caller gave


def to_tensor(image: AnyImage) -> tuple[Tensor, Back]:
    """Reads a picture of any kind.

    Args:
        image: a PIL image; a NumPy array (H, W), (H, W, 1) or (H, W, 3) of uint8, uint16 or floats in [0, 1]; or a
            torch tensor (1 or 3, H, W) or (B, 1 or 3, H, W) of uint8 or floats in [0, 1].

    Returns:
        The picture as (B, 3, H, W) float32 in [-1, 1], and the function that turns such a tensor into the same kind:
        same type, channels, dtype and device, whatever its height and width.

    Raises:
        RestoreError: it is none of these.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, np.ndarray):
        return _from_numpy(image)
    if isinstance(image, Tensor):
        return _from_torch(image)
    raise RestoreError(f"{type(image).__name__} is not a picture; give a PIL image, a NumPy array or a torch tensor")


def to_raster(image: np.ndarray, raster: Raster) -> None:
    """Writes a NumPy array that `to_tensor` takes into a raster of its size."""
    for rows in bands(raster.size):
        raster.write(to_tensor(image[rows])[0], rows)


def from_raster(raster: Raster, like: np.ndarray) -> np.ndarray:
    """The raster's pixels as an array with the channels and the dtype of `like`."""
    _, back = to_tensor(like[:1, :1])
    out = np.empty((*raster.size, *like.shape[2:]), like.dtype)
    for rows in bands(raster.size):
        out[rows] = back(raster.read(rows))
    return out


def _from_pil(image: Image.Image) -> tuple[Tensor, Back]:
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    mode = "L" if image.mode in ("L", "LA", "1") else "RGB"
    tensor, back = _from_numpy(np.asarray(image.convert(mode)))

    def to_pil(result: Tensor) -> Image.Image:
        restored = Image.fromarray(back(result))
        if alpha is not None:
            restored.putalpha(alpha.resize(restored.size, Image.Resampling.BICUBIC))
        return restored

    return tensor, to_pil


def _from_numpy(array: np.ndarray) -> tuple[Tensor, Back]:
    shaped = array[:, :, None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3):
        raise RestoreError(f"array {array.shape} is not (H, W), (H, W, 1) or (H, W, 3); take the alpha off first")
    planes = torch.from_numpy(np.require(_widen(shaped), requirements=["C", "W"])).permute(2, 0, 1)[None]
    tensor = _normalise(planes, _scale(array.dtype))

    def to_numpy(result: Tensor) -> np.ndarray:
        planes = _denormalise(result, shaped.shape[2], _scale(array.dtype))[0]
        out = planes.permute(1, 2, 0).cpu().numpy().astype(array.dtype)
        return out[:, :, 0] if array.ndim == 2 else out

    return tensor, to_numpy


def _from_torch(image: Tensor) -> tuple[Tensor, Back]:
    batch = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[1] not in (1, 3):
        raise RestoreError(f"tensor {tuple(image.shape)} is not (C, H, W) or (B, C, H, W) with 1 or 3 channels")
    scale = 1.0 if image.is_floating_point() else _scale(np.dtype(str(image.dtype).removeprefix("torch.")))

    def to_torch(result: Tensor) -> Tensor:
        out = _denormalise(result, batch.shape[1], scale).to(image.device, image.dtype)
        return out[0] if image.ndim == 3 else out

    return _normalise(batch, scale), to_torch


def _widen(array: np.ndarray) -> np.ndarray:
    """torch does little with uint16."""
    return array.astype(np.int32) if array.dtype == np.uint16 else array


def _scale(dtype: np.dtype) -> float:
    """The value of white."""
    if np.issubdtype(dtype, np.floating):
        return 1.0
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    raise RestoreError(f"pictures of {dtype} are not known; use uint8, uint16 or floats in [0, 1]")


def _normalise(planes: Tensor, scale: float) -> Tensor:
    return planes.float().div(scale / 2).sub_(1).expand(-1, 3, -1, -1).contiguous()


def _denormalise(x: Tensor, channels: int, scale: float) -> Tensor:
    x = x.mean(1, keepdim=True) if channels == 1 else x
    x = x.clamp(-1, 1).add_(1).mul_(scale / 2)
    return x if scale == 1 else x.round_()
