"""Metrics that compare pixel with pixel: PSNR and SSIM."""

import numpy as np

from .extra import missing


def psnr(picture: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared difference); infinite for equal pictures.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W) or (H, W, 3).
        where: (H, W) bool, the pixels that count; None: all.
    """
    squares = (picture.astype(np.float64) - reference) ** 2
    error = squares.mean() if where is None else squares[where].mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(picture: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """Structural similarity in windows of 7x7, the mean over channels, as scikit-image has it: 1 for equal pictures.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W, 3), 7x7 or larger.
        where: (H, W) bool, the pixels whose windows count; None: all windows that lie within the picture.

    Raises:
        RestoreError: scikit-image is not installed.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise missing("SSIM", "scikit-image") from error
    mean, windows = structural_similarity(picture, reference, channel_axis=-1, data_range=255, full=True)
    return float(mean if where is None else windows[where].mean())
