import copy

import pytest
import torch
from helpers.networks import DEEP, LEVELS, SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.model import BCM
from bcm_restore.networks import TiledNetwork, WindowedNetwork
from bcm_restore.networks.adm_unet import AdmUNet
from bcm_restore.networks.base import Network
from bcm_restore.networks.orientations import COUNT, ORDER, orient, restore

numbers = st.integers(0, COUNT - 1)


@pytest.fixture(autouse=True, scope="module")
def no_gradients():
    with torch.no_grad():
        yield


def test_there_are_eight_orientations_and_each_has_an_inverse():
    x = torch.arange(12.0).view(3, 4)
    found = [orient(x, number) for number in range(COUNT)]
    assert len({(tuple(each.shape), tuple(each.flatten().tolist())) for each in found}) == COUNT
    assert all(torch.equal(restore(each, number), x) for number, each in enumerate(found))
    assert torch.equal(found[1], x.flip(1)) and torch.equal(found[6], x.mT.flip(0))
    assert sorted(ORDER) == list(range(COUNT)) and ORDER[0] == 0


@settings(deadline=None, max_examples=40)
@given(numbers, st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_oriented_kernels_are_as_good_as_an_oriented_image(number, rows, columns, mapped):
    net = copy.deepcopy(DEEP).double()
    x = torch.randn(2, 3, 8 * rows, 8 * columns).double()
    maps = torch.where(torch.rand(2, 1, 8 * rows, 8 * columns) < 0.3, -5.0, 0.0).double().expand(-1, 2, -1, -1)
    levels = torch.tensor([0.3, 5.0]).double(), torch.tensor([0.002, 1.0]).double()
    arguments = (maps,) if mapped else ()
    expected = restore(net(orient(x, number), *levels, *(orient(one, number) for one in arguments)), number)
    torch.testing.assert_close(net.oriented(number)(x, *levels, *arguments), expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(numbers, st.integers(1, 120), st.integers(1, 120), st.integers(17, 120))
def test_tiles_give_the_same_pixels_in_every_orientation(number, height, width, tile):
    x = torch.randn(1, 3, height, width)
    whole, tiles = (TiledNetwork(SMALL, side).oriented(number)(x, *LEVELS) for side in (None, tile))
    assert (whole - tiles).abs().max() <= 1e-5


def test_oriented_networks_are_made_once_and_share_the_limits_of_memory():
    tiled = TiledNetwork(SMALL)
    assert tiled.oriented(0) is tiled and tiled.oriented(3) is tiled.oriented(3) is not tiled.oriented(4)
    assert tiled.oriented(3).limits is tiled.limits
    assert set(tiled.state_dict()) == {f"network.{name}" for name in SMALL.state_dict()}


class Rows(Network):
    """Multiplies the pixels by the numbers of their rows, and by labels."""

    def forward(self, x, t, u, maps=None, labels=None):
        rows = torch.arange(x.shape[2], dtype=x.dtype)[:, None]
        return x * rows * (1 if labels is None else labels.view(-1, 1, 1, 1)) + (0 if maps is None else maps[:, :1])


@pytest.mark.parametrize("number", range(COUNT))
def test_other_networks_get_an_oriented_image(number):
    x, maps = torch.randn(2, 3, 5, 7), torch.randn(2, 2, 5, 7)
    labels = torch.tensor([2, 3])
    found = Rows().oriented(number)(x, *LEVELS, maps, labels)
    torch.testing.assert_close(found, restore(Rows()(orient(x, number), *LEVELS, orient(maps, number), labels), number))


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_mean_is_averaged_over_orientations(count):
    model = BCM(Rows(), device="cpu")
    x = torch.randn(2, 3, 6, 6)
    expected = sum(restore(model.mean(orient(x, number), 0.3), number) for number in ORDER[:count]) / count
    model.nfe = 0
    torch.testing.assert_close(model.mean(x, 0.3, orientations=count), expected)
    assert model.nfe == count


def test_networks_of_one_size_are_averaged_too():
    torch.manual_seed(0)
    network = AdmUNet(channels=32, multipliers=(1,), blocks=1, attention=(), classes=0, head_channels=32, size=16)
    model = BCM(WindowedNetwork(network.eval()), device="cpu")
    assert model.mean(torch.randn(1, 3, 20, 18), 0.3, orientations=8).shape == (1, 3, 20, 18)
