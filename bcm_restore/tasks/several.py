"""Several pictures in one call: lists of any pictures, and arrays with an axis for them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import RestoreError
from .arguments import per_picture

if TYPE_CHECKING:
    from .base import Restoration


def is_several(image: Any, batches: bool) -> bool:
    """Whether `image` holds several pictures that are restored one by one; `batches`: tensors of them are one."""
    if isinstance(image, np.ndarray):
        return image.ndim == 4 and image.shape[3] in (1, 3)
    return isinstance(image, list | tuple) or (isinstance(image, Tensor) and image.ndim == 4 and not batches)


def run_several(
    name: str, run: Callable[..., "Restoration"], images: Any, inputs: Mapping[str, Any], run_kwargs: Mapping[str, Any]
) -> "Restoration":
    """Runs a task on each picture of a list or an array (N, H, W, C), with the same result as alone.

    Args:
        name: of the task.
        run: its method `run`.
        images: the pictures.
        inputs: see `arguments.per_picture`.
        run_kwargs: the other arguments of `run`.

    Raises:
        RestoreError: there is no picture, or see `Task.run`; the message says which picture.
    """
    if not len(images):
        raise RestoreError(f"{name} needs at least one picture: the list is empty")
    results = []
    for n, (image, own) in enumerate(zip(images, per_picture(inputs, images), strict=True), 1):
        try:
            results.append(run(image, **own, **run_kwargs))
        except RestoreError as error:
            raise type(error)(f"picture {n} of {len(images)}: {error}") from error
    restored = [one.image for one in results]
    several: Any = restored
    if not isinstance(images, list | tuple):
        several = torch.stack(restored) if isinstance(images, Tensor) else np.stack(restored)
    return dataclasses.replace(results[0], image=several)
