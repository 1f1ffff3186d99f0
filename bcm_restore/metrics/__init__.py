"""How near a picture is to another."""

import numpy as np


def psnr(picture: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared difference); infinite for equal pictures.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W) or (H, W, 3).
        where: (H, W) bool, the pixels that count; None: all.
    """
    squares = (picture.astype(np.float64) - reference) ** 2
    error = squares.mean() if where is None else squares[where].mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
