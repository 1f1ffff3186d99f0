import pytest
import torch

import bcm_restore
from bcm_restore.errors import RestoreError
from bcm_restore.networks import ConvUNet, build
from bcm_restore.networks.conv_unet import continuation


def test_a_fresh_network_is_zero_and_its_blocks_are_identities():
    torch.manual_seed(0)
    net = ConvUNet(channels=(8, 12), blocks=(2, 1), embedding=16)
    assert torch.equal(net(torch.randn(1, 3, 16, 16), torch.ones(1), torch.ones(1)), torch.zeros(1, 3, 16, 16))
    h, e = torch.randn(1, 8, 8, 8), torch.randn(1, 16)
    assert torch.equal(net.encoder[0][0](h, e), h)


def test_uniform_level_maps_change_nothing():
    model = bcm_restore.load_model(device="cpu")
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([0.1, 4.0])
    network = model.network.network
    torch.testing.assert_close(network(x, t, t), network(x, t, t, torch.zeros(2, 2, 64, 64)), rtol=0, atol=1e-5)


def test_level_maps_have_an_effect_once_trained():
    torch.manual_seed(0)
    net = ConvUNet(channels=(8, 12), blocks=(1, 1), embedding=16)
    torch.nn.init.normal_(net.entrance.weight)
    torch.nn.init.normal_(net.exit.weight)
    x, t = torch.randn(1, 3, 16, 16), torch.ones(1)
    assert (net(x, t, t, torch.ones(1, 2, 16, 16)) - net(x, t, t)).abs().max() > 0.1


def test_unknown_architectures_and_configurations_are_refused():
    with pytest.raises(RestoreError, match="network 'Transformer' is not known; use ConvUNet"):
        build("Transformer", {})
    with pytest.raises(RestoreError, match="ConvUNet cannot be built from the configuration"):
        build("ConvUNet", {"colour": "blue"})


def test_known_pixels_are_continued_into_a_hole():
    """Shepard's interpolation: a weighted mean of known pixels, nearer ones first, and nothing at uniform levels."""
    x = torch.rand(1, 3, 32, 32)
    relative = torch.zeros(1, 1, 32, 32)
    assert torch.equal(continuation(x, relative), torch.zeros_like(x))
    relative[:, :, ::5, ::3] = -10
    known = relative < 0
    filled = continuation(torch.where(known, x, 1e3), relative)  # values in the hole are ignored
    inside = torch.where(known, x, x[known.expand_as(x)].mean())
    assert filled.min() >= inside.min() - 1e-3 and filled.max() <= inside.max() + 1e-3
    flat = torch.where(known, 0.3, 1e3).expand_as(x)
    torch.testing.assert_close(continuation(flat, relative), torch.full_like(x, 0.3), rtol=0, atol=1e-3)
    lonely = torch.zeros(1, 1, 64, 64)
    lonely[:, :, 0, 0] = -10
    spread = continuation(torch.ones(1, 1, 64, 64), lonely)
    assert spread[0, 0, 8, 8] > 0.98 and spread[0, 0, 40, 40] == 0


@pytest.mark.slow
def test_the_same_bits_for_any_number_of_threads():
    model = bcm_restore.load_model(device="cpu")
    x = torch.randn(1, 3, 301, 333, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3, 5, 7, 8):
            torch.set_num_threads(count)
            found.append(model.traverse(x, 0.3, 0.002))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, found[0]) for one in found)
