"""The networks F(c_in x, t, u) of bidirectional consistency models."""

from .adm_unet import AdmUNet
from .base import Network
from .building import ARCHITECTURES, build, for_any_size
from .conv_unet import ConvUNet
from .tiled import TiledNetwork
from .windowed import WindowedNetwork

__all__ = [
    "ARCHITECTURES",
    "AdmUNet",
    "ConvUNet",
    "Network",
    "TiledNetwork",
    "WindowedNetwork",
    "build",
    "for_any_size",
]
