"""FLIP and HaarPSI: differences as people see them, from models of vision without networks."""

import numpy as np

from ..packages import required
from .checks import check_colour, check_pair

EXTRA = 'pip install "bcm-restore[bench]"'
SMALLEST = 16  # side for HaarPSI's coarsest wavelets, in pixels


def flip(picture: np.ndarray, reference: np.ndarray) -> float:
    """Mean of the FLIP error map: 0 for equal pictures, at most 1; seen at 67 pixels per degree.

    Andersson et al., FLIP: A Difference Evaluator for Alternating Images, HPG 2020; NVIDIA's code.

    Args:
        picture, reference: (H, W, 3) uint8 of one shape.

    Raises:
        RestoreError: the inputs are invalid, or the package flip-evaluator is missing.
    """
    check_pair(picture, reference)
    check_colour(picture)
    load_flip()
    import flip_evaluator

    a, b = (array.astype(np.float32) / 255 for array in (reference, picture))
    return float(flip_evaluator.evaluate(a, b, "LDR", applyMagma=False)[1])


def haarpsi(picture: np.ndarray, reference: np.ndarray) -> float:
    """Similarity of Haar wavelet coefficients: 1 for equal pictures, near 0 for unlike ones.

    Reisenhofer et al., A Haar Wavelet-Based Perceptual Similarity Index, arXiv 1607.06140, 2018; piq's code.

    Args:
        picture, reference: (H, W, 3) uint8 of one shape, 16x16 or larger.

    Raises:
        RestoreError: the inputs are invalid, or the package piq is missing.
    """
    check_pair(picture, reference)
    check_colour(picture, smallest=SMALLEST)
    load_haarpsi()
    import piq
    import torch

    a, b = (torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)[None] for array in (picture, reference))
    return float(piq.haarpsi(a, b, data_range=255))


def load_flip() -> None:
    """Imports FLIP's package.

    Raises:
        RestoreError: it is missing or broken; says how to get it.
    """
    with required("FLIP", "flip-evaluator", EXTRA):
        import flip_evaluator  # noqa: F401


def load_haarpsi() -> None:
    """Imports HaarPSI's package.

    Raises:
        RestoreError: it is missing or broken; says how to get it.
    """
    with required("HaarPSI", "piq", EXTRA):
        import piq  # noqa: F401
