"""The networks F(c_in x, t, u) that a bidirectional consistency model can be made of."""

from typing import Any

from ..errors import RestoreError
from .adm_unet import AdmUNet
from .conv_unet import ConvUNet

ARCHITECTURES: dict[str, type[ConvUNet] | type[AdmUNet]] = {"ConvUNet": ConvUNet, "AdmUNet": AdmUNet}


def build(architecture: str, config: dict[str, Any]) -> Any:  # a member of the union: the name says which
    """Make a network with random weights.

    Args:
        architecture: a key of `ARCHITECTURES`.
        config: the constructor's arguments, as they stand in a model file's metadata.

    Raises:
        RestoreError: the architecture is unknown, or the configuration is not one of its own.
    """
    if architecture not in ARCHITECTURES:
        raise RestoreError(f"network '{architecture}' is not known; there are: {', '.join(ARCHITECTURES)}")
    try:
        return ARCHITECTURES[architecture](**config)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise RestoreError(f"{architecture} can't be built from the configuration {config}: {error}") from error


__all__ = ["ARCHITECTURES", "AdmUNet", "ConvUNet", "build"]
