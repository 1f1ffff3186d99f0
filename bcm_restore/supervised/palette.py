"""Palette (arXiv 2111.05826): denoising diffusion that is conditioned on the damaged image.

Notation of the paper: clean images y_0, damaged images x, noisy images y_t = sqrt(gamma) y_0 + sqrt(1 - gamma) e. The
network gets y_t / sqrt(gamma) = y_0 + level e.
"""

import functools
import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..model import Noise
from .process import Damaged, Predict, Process, normal_like, per_image


@dataclass(frozen=True)
class Palette(Process):
    """Conditional diffusion with the training schedule of the paper (app. B): beta rises linearly.

    Attributes:
        steps: number of time steps.
        beta_min, beta_max: of the first and the last step.
        eta: share of the sampler's noise: 1, the ancestral sampler of the paper; 0, DDIM (arXiv 2010.02502, eq. 16).
    """

    name: ClassVar[str] = "palette"
    label: ClassVar[str] = "Palette"
    conditional: ClassVar[bool] = True
    steps: int = 2000
    beta_min: float = 1e-6
    beta_max: float = 0.01
    eta: float = 1.0

    @functools.cached_property
    def gammas(self) -> Tensor:
        """gamma of all steps, (steps + 1,) in float64, from gamma_0 = 1."""
        betas = torch.linspace(self.beta_min, self.beta_max, self.steps, dtype=torch.float64)
        return torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])

    def loss(self, predict: Predict, clean: Tensor, damaged: Damaged, generator: torch.Generator) -> Tensor:
        """|| f(x, sqrt(gamma) y_0 + sqrt(1 - gamma) e, gamma) - e ||^2, gamma uniform between two steps' (eq. 3)."""
        gammas = self.gammas.to(clean.device)
        step = torch.randint(1, len(gammas), (len(clean),), generator=generator, device=clean.device)
        between = torch.rand(len(clean), generator=generator, device=clean.device, dtype=torch.float64)
        gamma = gammas[step] + between * (gammas[step - 1] - gammas[step])
        e = normal_like(clean, generator)
        t = level(gamma)
        error = predict(damaged.keep_known(clean + per_image(t, clean) * e), damaged.image, t.float()) - e
        return damaged.mean_square(error)

    def sample(self, predict: Predict, damaged: Damaged, nfe: int, noise: Noise) -> Tensor:
        """Steps from noise to y_0 in equal parts of time, by q(y_t-1 | y_0, y_t) with the predicted y_0 (alg. 2).

        As in the published samplers, the predicted y_0 is clamped to [-1, 1].
        """
        gammas = self.gammas[torch.linspace(self.steps, 0, nfe + 1).round().long()]
        y = noise(damaged.image)
        for now, following in itertools.pairwise(gammas):
            x, t = y / now.sqrt().to(y), level(now).to(y)
            e = predict(damaged.keep_known(x), damaged.image, t.expand(len(y)))
            clean = (x - t * e).clamp(-1, 1)
            e = (y - now.sqrt().to(y) * clean) / (1 - now).sqrt().to(y)  # of the clamped image
            fresh = self.eta * ((1 - following) / (1 - now) * (1 - now / following)).sqrt()
            y = following.sqrt().to(y) * clean + (1 - following - fresh**2).sqrt().to(y) * e + fresh.to(y) * noise(y)
        return damaged.keep_known(y)


def level(gamma: Tensor) -> Tensor:
    """The standard deviation of the noise relative to the image, sqrt(1 / gamma - 1)."""
    return (1 / gamma - 1).clamp(min=1e-8).sqrt()
