"""The base class of networks, with the properties that callers need."""

import torch
from torch import nn


class Network(nn.Module):
    """A network F(c_in x, t, u, maps). Subclasses override the attributes that differ.

    `forward` takes x (B, 3, H, W), the levels t and u (B,), `maps` (B, 2, H, W) or None, and, if the network is
    class-conditional, labels (B,) int64; it returns (B, 3, H, W).

    Attributes:
        classes: number of classes; 0: not class-conditional.
        size: the height and width of the images that it takes; None: any.
        multiple: height and width of its input must be multiples of this.
        level_maps: whether it takes levels that differ between pixels.
        exact_tiles: whether an image evaluated in tiles gives the same pixels as whole.
    """

    classes: int = 0
    size: int | None = None
    multiple: int = 1
    level_maps: bool = False
    exact_tiles: bool = False

    def at_once(self, height: int, width: int, device: torch.device) -> int:
        """The number of images of that size to evaluate in one batch; 1 if batches are no faster."""
        return 1


def in_batches(device: torch.device) -> bool:
    """Whether images are batched: on CPU batches are slower, and rounding depends on the batch size."""
    return device.type != "cpu"
