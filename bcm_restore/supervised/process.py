"""What I2SB and Palette share: a process between noise or damage and clean images, its loss and its sampler."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..model import Noise

# of x = clean + level e (B, 3, H, W), the damaged images and levels (B,): the noise or damage e
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Damaged:
    """Damaged images.

    Attributes:
        image: (B, 3, H, W) in [-1, 1]; values in the hole are ignored.
        hole: (B, 1, H, W) bool, True where pixels are unknown, as in inpainting; None: all pixels are damaged.
    """

    image: Tensor
    hole: Tensor | None = None

    def to(self, device: torch.device) -> "Damaged":
        """The same images on another device."""
        return Damaged(self.image.to(device), None if self.hole is None else self.hole.to(device))

    def filled(self, other: Tensor) -> Tensor:
        """The damaged images with `other` in the hole."""
        return self.image if self.hole is None else torch.where(self.hole, other, self.image)

    def keep_known(self, x: Tensor) -> Tensor:
        """x with the known pixels of the damaged images."""
        return x if self.hole is None else torch.where(self.hole, x, self.image)

    def mean_square(self, error: Tensor) -> Tensor:
        """The mean of error^2 over the damaged pixels of each image, (B,)."""
        squares = error.square().mean(1, keepdim=True)
        if self.hole is None:
            return squares.mean((1, 2, 3))
        hole = self.hole.to(squares)
        return (squares * hole).sum((1, 2, 3)) / hole.sum((1, 2, 3)).clamp(min=1)


class Process(ABC):
    """A process from which a network learns to restore; a dataclass of its constants.

    Attributes:
        name: in model files and training configurations.
        label: in tables.
        conditional: whether the network receives the damaged image as further input channels.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    conditional: ClassVar[bool]

    @abstractmethod
    def loss(self, predict: Predict, clean: Tensor, damaged: Damaged, generator: torch.Generator) -> Tensor:
        """The training loss of each image, (B,), at random times.

        Args:
            predict: the network.
            clean: (B, 3, H, W) in [-1, 1].
            damaged: the same images.
            generator: of times and noise, on the images' device.
        """

    @abstractmethod
    def sample(self, predict: Predict, damaged: Damaged, nfe: int, noise: Noise) -> Tensor:
        """Restores images in `nfe` network evaluations; (B, 3, H, W) in about [-1, 1].

        Args:
            predict: the network.
            damaged: the images.
            nfe: number of network evaluations, at least 1.
            noise: of each image.
        """


def make_process(name: str, **constants: Any) -> Process:
    """The process of a name, "i2sb" or "palette", with its constants."""
    from .i2sb import I2SB
    from .palette import Palette

    kind = {I2SB.name: I2SB, Palette.name: Palette}[name]
    return kind(**constants)


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape of x."""
    return torch.empty_like(x).normal_(generator=generator)


def per_image(numbers: Tensor, x: Tensor) -> Tensor:
    """Numbers (B,) that multiply images x (B, C, H, W)."""
    return numbers.to(x).view(-1, 1, 1, 1)
