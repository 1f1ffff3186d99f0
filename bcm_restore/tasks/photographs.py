"""A Gaussian model of photographs: the first estimate for any linear operator, and its error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..operators import Linear

GREY = 0.5  # mean of the pixels in [0, 1]
CONTRAST = 0.145  # standard deviation of grey, in small pictures
CHROMA = 0.25  # amplitude of the chroma relative to that of grey


class Photographs:
    """Images u = 1/2 + R z in [0, 1] with z ~ N(0, I): amplitude 1/f (Field 1987), and little chroma.

    R is symmetric: it multiplies frequencies by 1/f, with the image repeated periodically, and chroma by CHROMA.

    Args:
        like: (B, 1 or 3, H, W), an image whose shape, dtype and device they have.
    """

    def __init__(self, like: Tensor) -> None:
        self.like = like
        rows, columns = torch.fft.fftfreq(like.shape[2]), torch.fft.rfftfreq(like.shape[3])
        frequency = torch.hypot(rows[:, None], columns).to(like)
        frequency[0, 0] = 1 / max(like.shape[2:])
        power = torch.fft.irfft2(frequency**-2, s=like.shape[2:])[0, 0]  # of one pixel
        self.amplitude = CONTRAST / (frequency * power.sqrt())

    def root(self, z: Tensor) -> Tensor:
        """R z."""
        grey = z.mean(1, keepdim=True)
        mixed = z.shape[1] ** 0.5 * (grey + CHROMA * (z - grey))  # grey has the variance 1
        return torch.fft.irfft2(self.amplitude * torch.fft.rfft2(mixed), s=z.shape[2:])

    def sample(self) -> Tensor:
        """A random image, the same at each call and for all images of `like`."""
        return (GREY + self.root(standard_noise(self.like[:1]))).expand_as(self.like)

    def mean(self, physics: Any, y: Tensor, noise: Tensor | None = None) -> Tensor:
        """The posterior mean given y = A u: 1/2 + R z with the least z, or with the noise norm of `Linear` left."""
        flat = torch.full_like(self.like, GREY)
        z = Linear(_OfRoot(self, physics), noise).fit(torch.zeros_like(flat), y - physics.A(flat))
        return flat + self.root(z)


class _OfRoot:
    """A R, and its adjoint R A^T."""

    def __init__(self, prior: Photographs, physics: Any) -> None:
        self.prior, self.physics = prior, physics

    def A(self, z: Tensor) -> Tensor:
        return self.physics.A(self.prior.root(z))

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.prior.root(self.physics.A_adjoint(y))


def standard_noise(like: Tensor) -> Tensor:
    """Standard normal numbers of the shape of `like`, the same at each call."""
    drawn = torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(0))
    return drawn.to(like.device)
