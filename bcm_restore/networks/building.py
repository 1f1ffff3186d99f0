"""Builds networks from the names in model files, and adapts them to images of any size."""

from typing import Any, cast

from ..errors import RestoreError
from .adm_unet import AdmUNet
from .base import Network
from .conv_unet import ConvUNet
from .tiled import TiledNetwork
from .windowed import WindowedNetwork

ARCHITECTURES: dict[str, type[Network]] = {"ConvUNet": ConvUNet, "AdmUNet": AdmUNet}


def build(architecture: str, config: dict[str, Any]) -> Network:
    """Builds a network with random weights.

    Args:
        architecture: a key of `ARCHITECTURES`.
        config: the constructor's arguments, as in a model file's metadata.

    Raises:
        RestoreError: the architecture is unknown, or the configuration does not fit it.
    """
    if architecture not in ARCHITECTURES:
        raise RestoreError(f"network '{architecture}' is not known; use {', '.join(ARCHITECTURES)}")
    try:
        return ARCHITECTURES[architecture](**config)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise RestoreError(f"{architecture} cannot be built from the configuration {config}: {error}") from error


def for_any_size(network: Network, tile: int | None = None, overlap: int | None = None) -> Network:
    """Wraps a network for images of any size: in blended windows if it has a fixed size, else in exact tiles.

    Args:
        network: returned unchanged if it takes any size but its tiles are not exact.
        tile: see `TiledNetwork`.
        overlap: see `WindowedNetwork`.

    Raises:
        RestoreError: the overlap is out of range, or an option is for the other kind of network.
    """
    if network.size is not None:
        if tile is not None:
            raise RestoreError("this model runs in windows of one size, not in tiles; omit the tile")
        return WindowedNetwork(cast(AdmUNet, network), overlap)
    if overlap is not None:
        raise RestoreError("this model runs in exact tiles without blending; omit --overlap")
    return TiledNetwork(cast(ConvUNet, network), tile) if network.exact_tiles else network
