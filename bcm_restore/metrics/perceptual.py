"""LPIPS: how differently a classification network sees two pictures."""

import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RestoreError
from .extra import missing

if TYPE_CHECKING:
    from torch import Tensor, nn

BACKBONE = "lpips-alex"  # AlexNet's weights in the catalogue


def lpips(picture: np.ndarray, reference: np.ndarray) -> float:
    """Learned perceptual distance (LPIPS 0.1 with AlexNet): 0 for equal pictures, about 0.5 for very different ones.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W, 3), 32x32 or larger.

    Raises:
        RestoreError: the package or AlexNet's weights are missing, or they are damaged; nothing is downloaded.
    """
    import torch

    network = load()
    with torch.no_grad():
        return float(network(_tensor(picture), _tensor(reference)))


@functools.cache
def load() -> "nn.Module":
    """The network of LPIPS, loaded once.

    Raises:
        RestoreError: the package or AlexNet's weights are missing, or they are damaged.
    """
    try:
        import lpips as package
        import torchvision  # noqa: F401  (what lpips takes AlexNet from)
    except ImportError as error:
        raise missing("LPIPS", error.name or "lpips") from error
    _check_backbone()  # without it the package would download it, or measure with whatever lies there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names in torchvision that lpips still uses
        return package.LPIPS(net="alex", verbose=False).eval().requires_grad_(False)


def backbone() -> Path:
    """Where AlexNet's weights are looked for: torch.hub's folder of checkpoints."""
    from ..weights import catalogue
    from ..weights.download import torch_hub_path

    return torch_hub_path(catalogue.get(BACKBONE).stored_as)


def _check_backbone() -> None:
    """Makes sure that AlexNet's weights are there, and those that LPIPS was made with."""
    from ..weights import cache, catalogue

    path, entry = backbone(), catalogue.get(BACKBONE)
    fetch = f"'bcm-restore weights download {BACKBONE}' fetches them, or put {entry.url} into {path.parent}"
    if not path.is_file():
        raise RestoreError(f"LPIPS needs AlexNet's weights; {fetch}")
    if cache.digest(path) != entry.sha256:
        raise RestoreError(f"{path}: is damaged, or not AlexNet's weights that LPIPS needs; delete it, then {fetch}")


def _tensor(picture: np.ndarray) -> "Tensor":
    """(1, 3, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
