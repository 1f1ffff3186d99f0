"""Paths in place of pictures: the file is read, and the result is a PIL image."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import images
from .arguments import COEFFICIENTS, takes_coefficients
from .pil import pil_array

if TYPE_CHECKING:
    from .base import Restoration, Task


def open_file(path: str | Path) -> Image.Image:
    """Reads a picture's file as a PIL image: upright, with its metadata in `info`; see `images.to_pil`.

    Raises:
        RestoreError: see `images.read`.
    """
    return images.to_pil(images.read(path))


def read_for(task: "Task", path: str | Path, inputs: Mapping[str, Any]) -> tuple[images.Picture, Mapping[str, Any]]:
    """Reads a picture for a task: upright, or a JPEG as stored if its coefficients have to match the pixels.

    Args:
        task: restores it.
        path: the file.
        inputs: the further inputs of the task.

    Returns:
        The picture and the inputs, with the coefficients. Pictures in CMYK are sRGB and without coefficients.

    Raises:
        RestoreError: see `images.read`.
    """
    data, found = images.file_contents(path), None
    if takes_coefficients(task) and inputs.get(COEFFICIENTS) is None:
        found = images.jpeg_coefficients(path, data=data)
    if found is None or len(found.planes) == 4:
        return images.read(path, data=data), inputs
    return images.read(path, upright=not task.as_stored, data=data), {**inputs, COEFFICIENTS: found}


def run_file(task: "Task", path: str | Path, inputs: Mapping[str, Any], run_kwargs: Mapping[str, Any]) -> "Restoration":
    """Runs a task on a file, with the coefficients of a JPEG if the task takes them.

    Args:
        task: restores it.
        path: the file.
        inputs: the further inputs of the task.
        run_kwargs: the other arguments of `Task.run`.

    Returns:
        `image` is a PIL image, upright, of 8 bits, or 16 if it is grey; the file's metadata are in its `info`.

    Raises:
        RestoreError: the file is not a picture, or see `Task.run`.
    """
    picture, inputs = read_for(task, path, inputs)
    made = task.run(images.to_pil(picture), **inputs, **run_kwargs)
    pixels, _ = pil_array(made.image)
    return dataclasses.replace(made, image=images.to_pil(picture.with_pixels(pixels).upright()))
