import copy
import itertools
import math

import pytest
import torch
from helpers.networks import DEEP, LEVELS, SMALL, network
from hypothesis import given, settings
from hypothesis import strategies as st

import bcm_restore
from bcm_restore.model import BCM
from bcm_restore.networks import TiledNetwork, WindowedNetwork, tiled, windowed
from bcm_restore.networks.base import Network
from bcm_restore.networks.tiled import BYTES_PER_PIXEL_AND_CHANNEL, LEAST_ROWS, _spans

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def no_gradients():
    with torch.no_grad():
        yield


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(17, 120))
def test_tiles_give_the_same_pixels_as_the_whole_image(height, width, tile):
    x = torch.randn(1, 3, height, width)
    whole, found = TiledNetwork(SMALL)(x, *LEVELS), TiledNetwork(SMALL, tile)(x, *LEVELS)
    assert whole.shape == found.shape == x.shape
    assert (whole - found).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("size", "tile"), [((128, 256), 128), ((251, 197), 96), ((131, 200), 72), ((70, 90), 24), ((300, 9), 16)]
)
def test_tiles_of_the_default_depth(size, tile):
    """In float64, so that only a wrong halo could make a difference."""
    x = torch.randn(2, 3, *size).double()
    maps = torch.where(torch.rand(2, 1, *size) < 0.05, -5.0, 0.0).double().expand(-1, 2, -1, -1)
    levels = torch.tensor([0.3, 5.0]).double(), torch.tensor([0.002, 1.0]).double()
    net = copy.deepcopy(DEEP).double()
    for arguments in ((x, *levels), (x, *levels, maps)):
        assert (TiledNetwork(net)(*arguments) - TiledNetwork(net, tile)(*arguments)).abs().max() <= 1e-12


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(8, 800), st.sampled_from([1, 128]))
def test_tiles_are_as_equal_as_can_be(size, tile, least):
    spans = _spans(size, tile, 8, least)
    assert spans[0].start == 0 and spans[-1].stop == size
    assert all(one.stop == following.start and one.stop % 8 == 0 for one, following in itertools.pairwise(spans))
    sides = [span.stop - span.start for span in spans]
    assert len(sides) == 1 or max(sides) - min(sides) <= 15  # a multiple, and what the last lacks to one
    if least == 1:
        assert max(sides) <= tile
    elif len(sides) > 1:
        assert min(sides) > least - 8


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 200_000), st.booleans(), st.integers(1, 1 << 22))
def test_cuts_cover_the_picture_and_keep_to_the_budget(height, width, maps, pixels):
    """Rows above a tile are not computed again; only known pixels are read again, for their continuation."""
    tiles = TiledNetwork(SMALL, budget=pixels * 8 * BYTES_PER_PIXEL_AND_CHANNEL).tiles((height, width), maps, CPU)
    halo = SMALL.map_halo if maps else SMALL.halo
    assert sum(math.prod(span.stop - span.start for span in tile[:2]) for tile in tiles) == height * width
    for tile in tiles:
        rows, columns, seen_rows, seen_columns = tile
        assert seen_columns == slice(max(columns.start - halo, 0), min(columns.stop + halo, width))
        assert seen_rows == slice(max(rows.start - halo + SMALL.halo, 0), min(rows.stop + halo, height))
        if height >= 10 * LEAST_ROWS and pixels >= 4 * halo * (LEAST_ROWS + halo):
            assert (rows.stop - rows.start + halo) * (seen_columns.stop - seen_columns.start) <= 1.1 * pixels


@pytest.mark.slow
@pytest.mark.parametrize("tile", [128, 160, 200, 256])
def test_tiles_of_the_default_model_are_the_same_bits(tile):
    x = torch.rand(1, 3, 400, 391) * 2 - 1
    in_tiles = bcm_restore.load_model(device="cpu", tile=tile)
    assert torch.equal(in_tiles.mean(x, 0.1), bcm_restore.load_model(device="cpu").mean(x, 0.1))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("tile", [None, 64])
def test_an_image_has_the_same_bits_in_any_batch(model, count, tile):
    x, t, u = torch.randn(5, 3, 61, 83), torch.tensor([0.1, 0.2, 0.3, 5.0, 60.0]), torch.full((5,), 0.5)
    known = torch.rand(5, 1, 61, 83) < 0.5
    net = TiledNetwork(model.network.network, tile)
    near = BCM(net, level_maps=True, device="cpu")
    maps = torch.where(known, -5.0, 0.0).expand(-1, 2, -1, -1)
    for evaluate, arguments in (
        (net, (x, t, u, maps)),
        (near.traverse, (x, t, u, known)),
        (near.mean, (x, t)),
    ):
        with torch.inference_mode():
            together = evaluate(*arguments)
            apart = [evaluate(*(each[i : i + count] for each in arguments)) for i in range(0, 5, count)]
        assert torch.equal(together, torch.cat(apart))


def test_halo_covers_the_receptive_field_tightly():
    """The gradient shows which inputs beyond the border of an aligned tile an output pixel depends on."""
    for net in (SMALL, DEEP, network(channels=(8,), blocks=(2,), middle=1, embedding=16)):
        size = 4 * net.halo // net.multiple * net.multiple
        x = torch.randn(1, 3, size, size, requires_grad=True)
        border = size // 2 // net.multiple * net.multiple
        with torch.enable_grad():
            row = net(x, *LEVELS)[:, :, border].sum()
        reach = border - torch.autograd.grad(row, x)[0].abs().sum((0, 1, 3)).nonzero().min().item()
        assert net.halo - net.multiple < reach <= net.halo


def test_map_halo_covers_the_receptive_field():
    net = copy.deepcopy(DEEP).double()
    size = 4 * net.map_halo
    x = torch.randn(1, 3, size, size, requires_grad=True, dtype=torch.float64)
    maps = torch.full((1, 2, size, size), -5.0, dtype=torch.float64)
    border = size // 2
    with torch.enable_grad():
        row = net(x, *(level.double() for level in LEVELS), maps)[:, :, border].sum()
    reach = border - torch.autograd.grad(row, x)[0].abs().sum((0, 1, 3)).nonzero().min().item()
    assert net.halo < reach <= net.map_halo


def test_the_budget_decides_on_tiles():
    assert len(TiledNetwork(SMALL).tiles((512, 512), False, CPU)) == 1
    small = TiledNetwork(SMALL, budget=300 * 300 * 8 * BYTES_PER_PIXEL_AND_CHANNEL)
    tall, wide = small.tiles((512, 500), False, CPU), small.tiles((128, 5000), False, CPU)
    assert [tile.rows for tile in tall] == [slice(start, start + 128) for start in range(0, 512, 128)]
    assert all(tile.columns == slice(0, 500) for tile in tall)
    assert len(wide) > 5 and all(tile.rows == slice(0, 128) for tile in wide)


@pytest.mark.parametrize("tile", [None, 32])
def test_gradients_are_those_of_the_padded_picture(tile):
    """One image at a time, as without gradients."""
    x, levels = torch.randn(2, 3, 45, 83, requires_grad=True), [level.expand(2) for level in LEVELS]
    net = TiledNetwork(SMALL, tile)
    with torch.enable_grad():
        found = net(x, *levels)
        [gradient] = torch.autograd.grad(found.square().sum(), x)
        alone = net(x[1:], *LEVELS)
        [expected] = torch.autograd.grad(alone.square().sum(), x)
    assert torch.equal(found[1:], alone) and torch.equal(gradient[1], expected[1])
    torch.testing.assert_close(found.detach(), net(x.detach(), *levels), rtol=1e-4, atol=1e-5)


def test_one_pixel():
    assert TiledNetwork(DEEP)(torch.zeros(1, 3, 1, 1), *LEVELS).isfinite().all()


class Full(Network):
    """A network on a device with memory for `pixels` pixels; records its inputs."""

    size, classes, channels = 16, 0, 8

    def __init__(self, pixels):
        super().__init__()
        self.most, self.given = pixels, []

    def forward(self, x, *arguments):
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        self.given.append(pixels)
        if pixels > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x


@pytest.fixture
def full(monkeypatch):
    """Replaces streams; records their inputs and limits the device's memory."""
    device = Full(10**9)

    class Stream:
        def __init__(self, network, t, u, height):
            self.stop = 0

        def __call__(self, x, maps, top, bottom):
            x, self.stop = device(x)[:, :, self.stop - top : bottom - top], bottom
            return x

    monkeypatch.setattr(tiled, "Stream", Stream)
    return device


@pytest.fixture
def gpu(monkeypatch):
    """Images are evaluated as on a GPU."""
    for module in (tiled, windowed):
        monkeypatch.setattr(module, "in_batches", lambda device: True)


def test_fewer_images_per_batch_before_tiles_shrink(gpu, full):
    x, full.most = torch.randn(5, 3, 480, 480), 100_000
    net = TiledNetwork(SMALL)
    levels = [level.expand(5) for level in LEVELS]
    assert torch.equal(net(x, *levels), x)
    assert full.given[:3] == [5 * 480**2, 2 * 480**2, 480**2]
    assert max(full.given[3:]) < 480**2
    failures = sum(pixels > full.most for pixels in full.given)
    net(x, *levels)
    assert sum(pixels > full.most for pixels in full.given) == failures  # the limit is remembered


def test_a_failed_tile_does_not_limit_the_next_picture(gpu, full):
    net, full.most = TiledNetwork(SMALL), 2000
    with pytest.raises(torch.OutOfMemoryError):
        net(torch.zeros(1, 3, 160, 160), *LEVELS)
    net(torch.zeros(1, 3, 40, 48), *LEVELS)
    assert full.given[-1] == 40 * 48


def test_as_many_images_per_batch_as_fit_the_budget(gpu, full):
    x, levels = torch.randn(5, 3, 160, 160), [level.expand(5) for level in LEVELS]
    net = TiledNetwork(SMALL, budget=2 * 160**2 * 8 * BYTES_PER_PIXEL_AND_CHANNEL)
    assert torch.equal(net(x, *levels), x)
    assert full.given == [2 * 160**2, 2 * 160**2, 160**2]


def test_images_one_by_one_on_the_cpu(full):
    x, levels = torch.randn(3, 3, 16, 16), [level.expand(3) for level in LEVELS]
    TiledNetwork(SMALL)(x, *levels)
    assert full.given == [16**2] * 3


def test_fewer_windows_per_batch_until_they_fit_in_memory():
    x = torch.randn(1, 3, 40, 40)
    full = Full(3 * 16 * 16)
    windows = WindowedNetwork(full, batch=16)
    torch.testing.assert_close(windows(x, *LEVELS), x)
    assert full.given[:4] == [9 * 256, 4 * 256, 2 * 256, 2 * 256]
    with pytest.raises(torch.OutOfMemoryError):
        WindowedNetwork(Full(100))(x, *LEVELS)


def test_number_of_images_at_once(request):
    cpu = torch.device("cpu")
    net, windows = (
        TiledNetwork(SMALL, budget=8 * BYTES_PER_PIXEL_AND_CHANNEL * 10_000),
        WindowedNetwork(Full(0), 8, batch=20),
    )
    assert net.at_once(10, 10, cpu) == windows.at_once(16, 16, cpu) == 1
    request.getfixturevalue("gpu")
    assert [net.at_once(side, 50, cpu) for side in (50, 100, 101, 300)] == [4, 2, 1, 1]
    assert [windows.at_once(side, 16, cpu) for side in (3, 16, 17, 24, 25, 400)] == [20, 20, 10, 10, 6, 1]
    assert TiledNetwork(SMALL, tile=64).at_once(10, 10, cpu) == 1
