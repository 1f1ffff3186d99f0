"""The flow map in training: the scalings of `BCM`, with gradients and per-pixel noise levels."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..preconditioning import input_scale, mean_scales, traverse_scales


@dataclass(frozen=True)
class Levels:
    """Noise levels: one per image, but sigma_min at known pixels.

    Attributes:
        image: (B,), the noise level of each image.
        pixel: (B, 1, H, W), the noise level of each pixel.
    """

    image: Tensor
    pixel: Tensor

    @classmethod
    def of(cls, image: Tensor, known: Tensor, sigma_min: float) -> "Levels":
        """Noise levels `image` (B,), but sigma_min where `known` (B, 1, H, W) is True."""
        per_pixel = torch.where(known, sigma_min, image.view(-1, 1, 1, 1))
        return cls(image, per_pixel)

    @property
    def map(self) -> Tensor:
        """(B, 1, H, W): log of each pixel's level relative to the image's; zero where they are equal."""
        return torch.log(self.pixel / self.image.view(-1, 1, 1, 1))

    def __getitem__(self, index: slice) -> "Levels":
        return Levels(self.image[index], self.pixel[index])


@dataclass(frozen=True)
class FlowMap:
    """f(x, t, u) = c_skip x + c_out F(c_in x, t, u), and the raw network F that the objectives regress.

    Attributes:
        network: F(c_in x, t, u, maps), possibly compiled or wrapped for several devices.
        sigma_min, sigma_max, sigma_data: as in `BCM`.
        maps: pass level maps to the network; False for networks without them.
    """

    network: Callable[..., Tensor]
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    maps: bool = True

    def F(self, x: Tensor, t: Levels, u: Levels, labels: Tensor | None = None) -> Tensor:
        """The raw network's output at x (B, C, H, W) in float32; class labels (B,) if it is class-conditional."""
        scaled = x * input_scale(t.pixel, self.sigma_data)
        inputs = (scaled, t.image, u.image, torch.cat([t.map, u.map], 1) if self.maps else None)
        return self.network(*inputs, *(() if labels is None else (labels,))).float()

    def traverse(self, x: Tensor, t: Levels, u: Levels, labels: Tensor | None = None) -> Tensor:
        """f(x, t, u); the identity where t = u."""
        return self.combine(x, self.F(x, t, u, labels), t, u)

    def combine(self, x: Tensor, raw: Tensor, t: Levels, u: Levels) -> Tensor:
        """c_skip x + c_out raw."""
        c_skip, c_out = traverse_scales(t.pixel, u.pixel, self.sigma_data)
        return c_skip * x + c_out * raw

    def mean(self, x: Tensor, raw: Tensor, t: Levels) -> Tensor:
        """The posterior mean D(x, t), from the raw network's F(c_in x, t, t)."""
        c_skip, c_out = mean_scales(t.pixel, self.sigma_data)
        return c_skip * x + c_out * raw

    def raw_of_mean(self, x: Tensor, mean: Tensor, t: Levels) -> Tensor:
        """The F(c_in x, t, t) that gives a posterior mean: the inverse of `mean`."""
        c_skip, c_out = mean_scales(t.pixel, self.sigma_data)
        return (mean - c_skip * x) / c_out

    def levels(self, image: Tensor, known: Tensor) -> Levels:
        """`Levels.of` with the map's sigma_min."""
        return Levels.of(image, known, self.sigma_min)

    def angle(self, sigma: Tensor) -> Tensor:
        """arctan(sigma / sigma_data): the ODE is a rotation by this angle, at unit speed."""
        return torch.atan(sigma / self.sigma_data)

    def sigma(self, angle: Tensor) -> Tensor:
        """The inverse of `angle`, clamped to [sigma_min, sigma_max]."""
        return (self.sigma_data * torch.tan(angle)).clamp(self.sigma_min, self.sigma_max)


def lognormal(count: int, mean: float, deviation: float, generator: torch.Generator) -> Tensor:
    """(count,) log-normal noise levels; `mean` and `deviation` are those of the logarithm."""
    return torch.exp(mean + deviation * torch.randn(count, generator=generator, device=generator.device))


def uniform(count: int, generator: torch.Generator) -> Tensor:
    """(count,) uniform numbers in [0, 1)."""
    return torch.rand(count, generator=generator, device=generator.device)


def pseudo_huber(x: Tensor, y: Tensor) -> Tensor:
    """(B,): sqrt(||x - y||^2 + c^2) - c with c = 0.00054 sqrt(d) (iCT, arXiv 2310.14189, sec. 3.3)."""
    c = 0.00054 * math.sqrt(x[0].numel())
    return torch.sqrt((x - y).square().flatten(1).sum(1) + c**2) - c
