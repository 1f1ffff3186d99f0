"""The attributes of networks, and wrappers for any image size."""

import pytest
import torch

from bcm_restore.errors import RestoreError
from bcm_restore.networks import AdmUNet, ConvUNet, Network, TiledNetwork, WindowedNetwork, build, for_any_size

CONV = {"channels": (8, 12), "blocks": (1, 1), "middle": 1, "embedding": 16}
ADM = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "classes": 3, "size": 16}


def attributes(network):
    return network.classes, network.size, network.multiple, network.level_maps, network.exact_tiles


def test_attributes_of_networks():
    assert attributes(Network()) == (0, None, 1, False, False)
    assert attributes(build("ConvUNet", CONV)) == (0, None, 8, True, True)
    assert attributes(build("AdmUNet", ADM)) == (3, 16, 2, False, False)


def test_any_size():
    tiled, windowed = for_any_size(ConvUNet(**CONV), tile=64), for_any_size(AdmUNet(**ADM), overlap=3)
    assert isinstance(tiled, TiledNetwork) and tiled.tile == 64 and attributes(tiled) == (0, None, 1, True, True)
    assert isinstance(windowed, WindowedNetwork) and windowed.overlap == 3
    assert attributes(windowed) == (3, 16, 1, False, False)
    other = Network()
    assert for_any_size(other) is other
    assert other.at_once(8, 8, torch.device("cpu")) == 1


def test_options_of_the_other_wrapper_are_refused():
    with pytest.raises(RestoreError, match="omit the tile"):
        for_any_size(AdmUNet(**ADM), tile=64)
    with pytest.raises(RestoreError, match="omit --overlap"):
        for_any_size(ConvUNet(**CONV), overlap=3)


def test_unknown_networks_are_refused():
    with pytest.raises(RestoreError, match=r"network 'Unet' is not known; use ConvUNet, AdmUNet"):
        build("Unet", {})
    with pytest.raises(RestoreError, match="ConvUNet cannot be built from the configuration"):
        build("ConvUNet", {"colour": "red"})
