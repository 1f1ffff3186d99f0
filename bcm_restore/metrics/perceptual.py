"""LPIPS: how differently a classification network sees two pictures."""

import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..packages import required
from .checks import check_colour, check_pair
from .networks import checked_weights, weights_path

if TYPE_CHECKING:
    from torch import Tensor, nn

Net = Literal["alex", "vgg"]

BACKBONES: dict[Net, tuple[str, str]] = {  # the network under LPIPS, and its weights in the catalogue
    "alex": ("AlexNet", "lpips-alex"),
    "vgg": ("VGG-16", "lpips-vgg"),
}


def lpips(picture: np.ndarray, reference: np.ndarray, net: Net = "alex") -> float:
    """Learned perceptual distance (LPIPS 0.1): 0 for equal pictures, about 0.5 for very different ones.

    AlexNet's is the one that is usually reported as a metric; values of the two networks can't be compared. Zhang et
    al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, arXiv 1801.03924, 2018.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W, 3), 32x32 or larger.
        net: the network that sees: AlexNet or VGG-16.

    Raises:
        RestoreError: the pictures are something else; or the package or the network's weights are missing, or they are
            damaged; nothing is downloaded.
    """
    import torch

    check_pair(picture, reference)
    check_colour(picture, smallest=32)

    network = load(net)
    with torch.no_grad():
        return float(network(_tensor(picture), _tensor(reference)))


@functools.cache
def load(net: Net = "alex") -> "nn.Module":
    """The network of LPIPS, loaded once.

    Raises:
        RestoreError: the package can't be imported, or the network's weights are missing or damaged.
    """
    with required("LPIPS", "lpips", "pip install lpips torchvision"):
        import lpips as package

    # without them the package would download them, or measure with whatever lies there
    checked_weights("LPIPS", *BACKBONES[net])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names in torchvision that lpips still uses
        return package.LPIPS(net=net, verbose=False).eval().requires_grad_(False)


def backbone(net: Net = "alex") -> Path:
    """Where the network's weights are looked for: torch.hub's folder of checkpoints."""
    return weights_path(BACKBONES[net][1])


def _tensor(picture: np.ndarray) -> "Tensor":
    """(1, 3, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
