"""The base class of networks, with the properties that callers need."""

import torch
from torch import Tensor, nn

from .orientations import orient, restore


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

    def oriented(self, number: int) -> "Network":
        """The network that evaluates its input in another orientation (0 to 7, see `orientations`)."""
        return _Oriented(self, number)


class _Oriented(Network):
    """Turns the input of any network, and turns its output back."""

    def __init__(self, network: Network, number: int) -> None:
        super().__init__()
        self.network, self.number = network, number

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None, *labels: Tensor) -> Tensor:
        turned = None if maps is None else orient(maps, self.number)
        return restore(self.network(orient(x, self.number), t, u, turned, *labels), self.number)


def in_batches(device: torch.device) -> bool:
    """Whether images are batched: on CPU batches are slower, and rounding depends on the batch size."""
    return device.type != "cpu"
