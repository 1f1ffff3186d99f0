"""Small networks of random weights, and a model of one."""

import torch

from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet, TiledNetwork

LEVELS = torch.tensor([0.3]), torch.tensor([0.002])


def network(**config):
    """Random weights everywhere, as a new network is zero at its output."""
    torch.manual_seed(0)
    net = ConvUNet(**config).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else parameter)
    return net


SMALL = network(channels=(8, 12), blocks=(1, 1), middle=1, embedding=16)
DEEP = network(channels=(8, 12, 16), blocks=(1, 1, 1), middle=1, embedding=16)


def toy(tile=96):
    return BCM(TiledNetwork(SMALL, tile), device="cpu", level_maps=True, name="toy")
