import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bcm_restore
from bcm_restore.canvas import BYTES_PER_PIXEL_AND_CHANNEL, Canvas, Windows
from bcm_restore.networks import ConvUNet

LEVELS = torch.tensor([0.3]), torch.tensor([0.002])


def network(**config):
    """Random weights everywhere: a fresh network is zero at its exit."""
    torch.manual_seed(0)
    net = ConvUNet(**config).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else parameter)
    return net


SMALL = network(channels=(8, 12), blocks=(1, 1), middle=1, embedding=16)
DEEP = network(channels=(8, 12, 16), blocks=(1, 1, 1), middle=1, embedding=16)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(17, 120))
def test_tiles_give_the_same_pixels_as_the_whole_image(height, width, tile):
    x = torch.randn(1, 3, height, width)
    whole, tiled = Canvas(SMALL)(x, *LEVELS), Canvas(SMALL, tile)(x, *LEVELS)
    assert whole.shape == tiled.shape == x.shape
    assert (whole - tiled).abs().max() <= 1e-5


@pytest.mark.parametrize(("size", "tile"), [((128, 256), 128), ((251, 197), 96), ((131, 200), 72)])
def test_tiles_of_the_default_depth(size, tile):
    """In float64, where nothing but a wrong halo could make a difference."""
    x = torch.randn(2, 3, *size).double()
    maps = torch.where(torch.rand(2, 1, *size) < 0.05, -5.0, 0.0).double().expand(-1, 2, -1, -1)
    levels = torch.tensor([0.3, 5.0]).double(), torch.tensor([0.002, 1.0]).double()
    net = copy.deepcopy(DEEP).double()
    for arguments in ((x, *levels), (x, *levels, maps)):
        assert (Canvas(net)(*arguments) - Canvas(net, tile)(*arguments)).abs().max() <= 1e-12


def test_tiles_of_the_default_model():
    x = torch.rand(1, 3, 200, 296) * 2 - 1
    whole, tiled = (bcm_restore.load_model(device="cpu", tile=tile).mean(x, 0.1) for tile in (None, 96))
    assert (whole - tiled).abs().max() <= 1e-5


def test_halo_covers_the_receptive_field_and_little_more():
    """The gradient says exactly which inputs an output pixel depends on, past the border of an aligned tile."""
    for net in (SMALL, DEEP, network(channels=(8,), blocks=(2,), middle=1, embedding=16)):
        size = 4 * net.halo // net.multiple * net.multiple
        x = torch.randn(1, 3, size, size, requires_grad=True)
        border = size // 2 // net.multiple * net.multiple
        row = net(x, *LEVELS)[:, :, border]
        reach = border - torch.autograd.grad(row.sum(), x)[0].abs().sum((0, 1, 3)).nonzero().min().item()
        assert net.halo - net.multiple < reach <= net.halo


def test_map_halo_covers_the_receptive_field():
    net = copy.deepcopy(DEEP).double()
    size = 4 * net.map_halo
    x = torch.randn(1, 3, size, size, requires_grad=True, dtype=torch.float64)
    maps = torch.full((1, 2, size, size), -5.0, dtype=torch.float64)
    border = size // 2
    row = net(x, *(level.double() for level in LEVELS), maps)[:, :, border]
    reach = border - torch.autograd.grad(row.sum(), x)[0].abs().sum((0, 1, 3)).nonzero().min().item()
    assert net.halo < reach <= net.map_halo


def test_the_budget_decides_on_tiles():
    x = torch.zeros(1, 3, 512, 512)
    assert Canvas(SMALL)._tile(x, SMALL.halo) is None
    small = Canvas(SMALL, budget=300 * 300 * 8 * BYTES_PER_PIXEL_AND_CHANNEL)
    tile = small._tile(x, SMALL.halo)
    assert tile is not None
    assert tile % SMALL.multiple == 0
    assert (tile + 2 * SMALL.halo) ** 2 <= 300 * 300


def test_one_pixel():
    assert Canvas(DEEP)(torch.zeros(1, 3, 1, 1), *LEVELS).isfinite().all()


class Full(torch.nn.Module):
    """A network on a device that has memory for so many pixels; remembers what it was given."""

    def __init__(self, network, pixels):
        super().__init__()
        self.inner, self.most, self.given = network, pixels, []
        self.entrance, self.multiple, self.halo, self.size, self.classes = torch.nn.Conv2d(3, 8, 1), 8, 16, 16, 0
        self.channels = 8

    def forward(self, x, t, u, maps=None, labels=None):
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        self.given.append(pixels)
        if pixels > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(x)


def test_tiles_shrink_until_the_memory_does():
    x = torch.randn(2, 3, 160, 160)
    full = Full(torch.nn.Identity(), 7000)
    canvas = Canvas(full)
    assert torch.equal(canvas(x, *LEVELS), x)
    assert full.given[0] == 2 * 160 * 160
    failures = sum(pixels > 7000 for pixels in full.given)
    canvas(x, *LEVELS)
    assert sum(pixels > 7000 for pixels in full.given) == failures  # learnt once
    with pytest.raises(torch.OutOfMemoryError):
        Canvas(Full(torch.nn.Identity(), 100))(x, *LEVELS)


def test_windows_are_fewer_at_a_time_until_the_memory_does():
    x = torch.randn(1, 3, 40, 40)
    full = Full(torch.nn.Identity(), 3 * 16 * 16)
    windows = Windows(full, batch=16)
    torch.testing.assert_close(windows(x, *LEVELS), x)
    assert full.given[:4] == [9 * 256, 4 * 256, 2 * 256, 2 * 256]
    with pytest.raises(torch.OutOfMemoryError):
        Windows(Full(torch.nn.Identity(), 100))(x, *LEVELS)
