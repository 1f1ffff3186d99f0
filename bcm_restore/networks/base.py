"""What every network says of itself."""

import torch
from torch import nn


class Network(nn.Module):
    """F(c_in x, t, u, maps): what its callers need to know of it. Subclasses set what differs.

    `forward` takes x (B, 3, H, W), the levels t and u (B,), `maps` (B, 2, H, W) or None, and labels (B,) int64 after
    them if it has classes; it returns (B, 3, H, W).

    Attributes:
        classes: number of classes that labels tell apart; 0: it takes no labels.
        size: height and width of the images that it is made for; None: any.
        multiple: height and width of its input must be multiples of this.
        level_maps: it takes levels that differ between pixels.
        exact_tiles: an image gives the same pixels whole and in tiles.
    """

    classes: int = 0
    size: int | None = None
    multiple: int = 1
    level_maps: bool = False
    exact_tiles: bool = False

    def at_once(self, height: int, width: int, device: torch.device) -> int:
        """How many images of that size are evaluated together; 1 where that is no faster than one by one."""
        return 1


def in_batches(device: torch.device) -> bool:
    """Whether images are evaluated together: on CPU that is slower, and rounds differently for each batch size."""
    return device.type != "cpu"
