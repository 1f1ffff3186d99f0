"""Checks the inputs of metrics: refuses inputs that they would misinterpret."""

from typing import Any

import numpy as np

from ..errors import RestoreError


def check_pair(picture: Any, reference: Any, where: Any = None) -> None:
    """Refuses pictures that are not arrays of one shape with values from 0 to 255.

    Args:
        picture, reference: uint8, or floats in [0, 255].
        where: (H, W) bool or None.

    Raises:
        RestoreError: says what was found and how to fix it.
    """
    for array in (picture, reference):
        _check_values(array)
    if picture.shape != reference.shape:
        raise RestoreError(
            f"pictures of shape {picture.shape} and {reference.shape} cannot be compared; give equal shapes"
        )
    if where is None:
        return
    if not isinstance(where, np.ndarray) or where.dtype != bool or where.shape != picture.shape[: where.ndim]:
        found = f"{where.dtype} {where.shape}" if isinstance(where, np.ndarray) else type(where).__name__
        raise RestoreError(f"where is {found}; give a bool array of shape {picture.shape[:2]}, True where pixels count")


def check_colour(picture: Any, smallest: int = 1) -> None:
    """Refuses anything but (H, W, 3) uint8 pictures with sides of at least `smallest`.

    Raises:
        RestoreError: says what was found and how to fix it.
    """
    _check_values(picture)
    if picture.dtype != np.uint8:
        raise RestoreError(f"a picture of {picture.dtype}; give uint8, from 0 to 255")
    check_channels(picture)
    if min(picture.shape[:2]) < smallest:
        height, width = picture.shape[:2]
        raise RestoreError(f"a picture of {width}x{height} is too small; the least is {smallest}x{smallest}")


def check_channels(picture: np.ndarray) -> None:
    """Refuses anything but (H, W, 3).

    Raises:
        RestoreError: says what was found and how to fix it.
    """
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise RestoreError(f"a picture of shape {picture.shape}; give (H, W, 3), with grey repeated three times")


def _check_values(array: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise RestoreError(f"{type(array).__name__} is not an array; metrics take NumPy arrays: numpy.asarray(image)")
    if array.dtype == np.uint8:
        return
    if not np.issubdtype(array.dtype, np.floating):
        raise RestoreError(f"a picture of {array.dtype}; give uint8, or floats from 0 to 255")
    low, high = (float(end) for end in (array.min(initial=0), array.max(initial=0)))
    if not (low >= -0.5 and high <= 255.5):  # written so that NaN is refused
        raise RestoreError(f"floats from {low:.5g} to {high:.5g}; metrics take 0 to 255")
    if 0 < high <= 1:
        raise RestoreError(f"floats from {low:.5g} to {high:.5g}, which look like [0, 1]; metrics take 0 to 255")
