"""LPIPS: the distance between two pictures in the features of a classification network."""

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

BACKBONES: dict[Net, tuple[str, str]] = {  # LPIPS' network, and the name of its weights in the catalogue
    "alex": ("AlexNet", "lpips-alex"),
    "vgg": ("VGG-16", "lpips-vgg"),
}


def lpips(picture: np.ndarray, reference: np.ndarray, net: Net = "alex") -> float:
    """Learned perceptual distance (LPIPS 0.1): 0 for equal pictures, about 0.5 for very different ones.

    AlexNet is the usual choice for a metric; values of the two networks cannot be compared. Zhang et al., The
    Unreasonable Effectiveness of Deep Features as a Perceptual Metric, arXiv 1801.03924, 2018.

    Args:
        picture, reference: uint8 arrays of one shape, (H, W, 3), 32x32 or larger.
        net: the network: AlexNet or VGG-16.

    Raises:
        RestoreError: the inputs are invalid, or the network's weights are missing or damaged; nothing is downloaded.
    """
    import torch

    check_pair(picture, reference)
    check_colour(picture, smallest=32)

    network = load(net)
    with torch.no_grad():
        return float(network(_tensor(picture), _tensor(reference)))


@functools.cache
def load(net: Net = "alex") -> "nn.Module":
    """Loads the network of LPIPS, once.

    Raises:
        RestoreError: the package cannot be imported, or the network's weights are missing or damaged.
    """
    with required("LPIPS", "lpips", "pip install lpips torchvision"):
        import lpips as package

    # otherwise the package would download them, or use whatever file is there
    checked_weights("LPIPS", *BACKBONES[net])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated torchvision names that lpips uses
        return package.LPIPS(net=net, verbose=False).eval().requires_grad_(False)


def backbone(net: Net = "alex") -> Path:
    """The path of the network's weights, in torch.hub's folder of checkpoints."""
    return weights_path(BACKBONES[net][1])


def _tensor(picture: np.ndarray) -> "Tensor":
    """(1, 3, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
