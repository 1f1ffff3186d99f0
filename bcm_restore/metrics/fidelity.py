"""Fidelity metrics: PSNR and SSIM."""

import numpy as np

from ..errors import RestoreError
from .checks import check_channels, check_pair

_WINDOW = 7


def psnr(picture: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared difference); infinite for equal pictures.

    Args:
        picture, reference: arrays of one shape, (H, W), (H, W, 3) or a stack of such, uint8 or in [0, 255].
        where: (H, W) bool, the pixels that count; None: all. If no pixel counts, the result is infinite.

    Raises:
        RestoreError: the inputs are invalid, such as floats in [0, 1].
    """
    check_pair(picture, reference, where)
    squares = (picture.astype(np.float64) - reference) ** 2
    counted = squares if where is None else squares[where]
    error = counted.mean() if counted.size else 0.0
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def psnr_y(picture: np.ndarray, reference: np.ndarray) -> float:
    """PSNR in dB of the luma of ITU-R BT.601, as reported in super-resolution and JPEG restoration, with a peak of 255.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, MATLAB's `rgb2ycbcr` without rounding. Borders are not cropped.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W, 3).

    Raises:
        RestoreError: the inputs are invalid.
    """
    check_pair(picture, reference)
    check_channels(picture)
    return psnr(_luma(picture), _luma(reference))


def ssim(picture: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """Structural similarity in 7x7 windows, the mean over channels, as in scikit-image: 1 for equal pictures.

    Args:
        picture, reference: arrays of one shape, (H, W) or (H, W, 3), 7x7 or larger, uint8 or in [0, 255].
        where: (H, W) bool, the pixels whose windows count; None: all windows inside the picture.

    Raises:
        RestoreError: the inputs are invalid.
    """
    from skimage.metrics import structural_similarity

    check_pair(picture, reference, where)
    if picture.ndim != 2:
        check_channels(picture)
    if min(picture.shape[:2]) < _WINDOW:
        raise RestoreError(f"SSIM uses windows of 7x7; a picture of shape {picture.shape} is too small")
    axis = None if picture.ndim == 2 else -1
    mean, windows = structural_similarity(picture, reference, channel_axis=axis, data_range=255, full=True)
    return float(mean if where is None else windows[where].mean())


def _luma(picture: np.ndarray) -> np.ndarray:
    """(H, W) in [16, 235]."""
    return 16 + picture @ np.array([65.481, 128.553, 24.966]) / 255
