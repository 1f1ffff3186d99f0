"""I2SB, the image-to-image Schrödinger bridge (arXiv 2302.05872): a diffusion bridge from damaged to clean images.

Notation of the paper: clean images X_0, damaged images X_1, sigma_t^2 the variance of the diffusion up to time t,
and bar sigma_t^2 that from t on.
"""

import functools
import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..model import Noise
from .process import Damaged, Predict, Process, normal_like, per_image

BETA_MIN = 0.1  # of the first step, times `steps`


@dataclass(frozen=True)
class I2SB(Process):
    """The bridge with the schedule of the published code.

    Attributes:
        steps: number of time steps.
        beta_max: sqrt(beta) rises linearly from sqrt(0.1 / steps) towards sqrt(beta_max / steps), is turned back half
            way, and falls again.
        ode: the variant without noise, OT-ODE (sec. 3.3).
    """

    name: ClassVar[str] = "i2sb"
    label: ClassVar[str] = "I2SB"
    conditional: ClassVar[bool] = False
    steps: int = 1000
    beta_max: float = 0.3
    ode: bool = False

    @functools.cached_property
    def variances(self) -> tuple[Tensor, Tensor]:
        """sigma_t^2 and bar sigma_t^2 of all steps, (steps,) in float64 (eq. 11)."""
        ends = (BETA_MIN / self.steps) ** 0.5, (self.beta_max / self.steps) ** 0.5
        rising = torch.linspace(*ends, self.steps, dtype=torch.float64)[: self.steps // 2] ** 2
        betas = torch.cat([rising, rising.flip(0)])
        return betas.cumsum(0), betas.flip(0).cumsum(0).flip(0)

    def loss(self, predict: Predict, clean: Tensor, damaged: Damaged, generator: torch.Generator) -> Tensor:
        """|| epsilon(X_t, t) - (X_t - X_0) / sigma_t ||^2 with X_t ~ q(X_t | X_0, X_1) (eq. 11 and 12)."""
        forward, backward = (variance.to(clean.device) for variance in self.variances)
        step = torch.randint(len(forward), (len(clean),), generator=generator, device=clean.device)
        end = damaged.filled(normal_like(clean, generator))
        x = self._posterior(clean, end, forward[step], backward[step], normal_like(clean, generator))
        sigma = forward[step].sqrt()
        error = predict(x, damaged.image, sigma.float()) - (x - clean) / per_image(sigma, x)
        return damaged.mean_square(error)

    def sample(self, predict: Predict, damaged: Damaged, nfe: int, noise: Noise) -> Tensor:
        """Steps from X_1 to X_0 in equal parts of time, by p(X_n | X_0, X_n+1) with the predicted X_0 (alg. 2)."""
        times = torch.linspace(0, self.steps, nfe + 1).round().long()
        variance = torch.cat([torch.zeros(1, dtype=torch.float64), self.variances[0]])[times].flip(0)
        x = damaged.filled(noise(damaged.image))
        for now, following in itertools.pairwise(variance):
            sigma = now.sqrt().expand(len(x))
            clean = damaged.keep_known(x - per_image(sigma, x) * predict(x, damaged.image, sigma.to(x)))
            x = self._posterior(clean, x, following[None], (now - following)[None], noise(x))
        return x

    def _posterior(self, start: Tensor, end: Tensor, before: Tensor, after: Tensor, noise: Tensor) -> Tensor:
        """A point of the bridge between X_0 = start and a later X = end (eq. 4 and 11).

        Args:
            start, end: (B, 3, H, W).
            before, after: variances from the start to the point, and from there to the end, (B or 1,).
            noise: standard normal, of the images' shape.
        """
        share = per_image(before / (before + after), start)
        mean = (1 - share) * start + share * end
        return mean if self.ode else mean + per_image((before * after / (before + after)).sqrt(), start) * noise
