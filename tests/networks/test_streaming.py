import copy
import itertools

import pytest
import torch
from helpers.networks import DEEP, LEVELS, SMALL, network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import bcm_restore
from bcm_restore.networks import streaming
from bcm_restore.networks.streaming import Stream

ODD = network(channels=(8, 8, 8), blocks=(2, 0, 1), middle=2, embedding=16)
FLAT = network(channels=(8,), blocks=(2,), middle=1, embedding=16)


def streamed(net, x, levels, maps, borders):
    """The network for the rows between borders, one band after the other."""
    halo, height, out = (net.halo if maps is None else net.map_halo), x.shape[2], []
    stream = Stream(net, *levels, height)
    for top, bottom in itertools.pairwise(borders):
        seen = slice(max(top - halo + net.halo, 0), min(bottom + halo, height))
        part = None if maps is None else maps[:, :, seen]
        out.append(stream(x[:, :, seen], part, seen.start, bottom))
    return torch.cat(out, 2)


@settings(deadline=None)
@given(st.data())
def test_bands_and_strips_are_the_whole(data):
    """Against the whole network, with gradients. In float64, so that only errors make a difference."""
    net = copy.deepcopy(data.draw(st.sampled_from([SMALL, DEEP, ODD, FLAT]))).double()
    batch, rows, columns = (data.draw(st.integers(1, most)) for most in (2, 40, 9))
    layout = data.draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    strip = data.draw(st.sampled_from([1, 5000, 50_000, 10**9]))
    cuts = data.draw(st.sets(st.integers(1, rows)))
    borders = [net.multiple * border for border in sorted(cuts | {0, rows})]
    x = torch.randn(batch, 3, net.multiple * rows, net.multiple * columns).double().contiguous(memory_format=layout)
    maps = None
    if data.draw(st.booleans()):
        maps = torch.where(torch.rand_like(x[:, :1]) < 0.05, -5.0, 0.0).expand(-1, 2, -1, -1)
    levels = [level.double().expand(batch) for level in LEVELS]
    expected = net(x, *levels, maps)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(streaming, "STRIP", strip)
        found = streamed(net, x, levels, maps, borders)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("strip", [1 << 16, 1 << 20, 1 << 30])
@pytest.mark.parametrize("with_maps", [False, True])
def test_bands_and_strips_of_the_default_model_are_the_same_bits(strip, with_maps, monkeypatch):
    net = copy.deepcopy(bcm_restore.load_model(device="cpu").network.network)
    x, maps = torch.rand(1, 3, 520, 392) * 2 - 1, None
    if with_maps:
        maps = torch.where(torch.rand(1, 1, 520, 392) < 0.2, -5.0, 0.0).expand(-1, 2, -1, -1)
    with torch.no_grad():
        map_weights = net.entrance.weight[:, 12:]  # not yet trained with level maps
        map_weights.copy_(torch.randn_like(map_weights) / 50)
        whole = streamed(net, x, LEVELS, maps, [0, 520])
        monkeypatch.setattr(streaming, "STRIP", strip)
        for borders in ([0, 520], [0, 128, 256, 384, 520], [0, 392, 520], [0, 200, 336, 520]):
            assert torch.equal(streamed(net, x, LEVELS, maps, borders), whole)


def test_nothing_is_computed_twice():
    """Except for a row at each end of a band, where a convolution pads only one side."""
    x, counts = torch.randn(1, 3, 2048, 64), []
    for borders in ([0, 2048], range(0, 2049, 256)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            streamed(DEEP, x, LEVELS, None, borders)
        counts.append(counter.get_total_flops())
    assert counts[0] <= counts[1] < 1.01 * counts[0]


def test_memory_does_not_grow_with_the_height():
    sizes = []
    for height in (512, 4096):
        stream = Stream(DEEP, *LEVELS, height)
        for top in range(0, height, 128):
            bottom = min(top + 128 + DEEP.halo, height)
            with torch.no_grad():
                stream(torch.randn(1, 3, bottom - top, 64), None, top, top + 128)
        sizes.append([rows[rows.stop - 1 : rows.stop].untyped_storage().nbytes() for rows in stream._resolutions])
    assert sizes[0] == sizes[1]
