"""Networks of one image size on images of any size."""

import itertools

import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM
from bcm_restore.networks import AdmUNet, ConvUNet, Network, WindowedNetwork, for_any_size, windowed
from bcm_restore.networks.windowed import _starts, _weights, _windows_at_once

LEVELS = torch.tensor([0.3, 2.0]), torch.tensor([0.002, 80.0])
SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "classes": 3, "head_channels": 32}


def network(seed=0, size=16):
    """Random weights, with an output of a standard deviation of about 1."""
    torch.manual_seed(seed)
    net = AdmUNet(**SMALL, size=size)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    net.out[2].weight.data *= 2
    return net.eval().requires_grad_(False)


class Local(Network):
    """A network of one size without padding effects: overlapping windows agree."""

    size, classes = 16, 0

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x, t, u, maps=None, labels=None):
        assert x.shape[1:] == (3, 16, 16)
        self.batches.append(len(x))
        return 2 * x


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 12))
def test_consistent_windows_leave_no_seams(height, width, overlap):
    x = torch.randn(2, 3, height, width)
    torch.testing.assert_close(WindowedNetwork(Local(), overlap, batch=3)(x, *LEVELS), 2 * x)


@given(st.integers(16, 500), st.integers(0, 15))
def test_windows_cover_the_side_and_overlap(length, overlap):
    starts = _starts(length, 16, overlap)
    assert starts[0] == 0 and starts[-1] == length - 16
    assert all(0 < b - a <= 16 - overlap for a, b in itertools.pairwise(starts))


@given(st.integers(16, 200), st.integers(0, 15))
def test_weights_are_positive_and_add_up_to_one(length, overlap):
    starts = _starts(length, 16, overlap)
    weights = _weights(starts, 16)
    total = torch.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + 16] += weight
    assert weights.min() > 0
    torch.testing.assert_close(total, torch.ones(length))


def test_weights_fall_over_the_whole_overlap():
    first, second = _weights([0, 10], 16)
    assert (first[:10] == 1).all() and (second[6:] == 1).all()
    assert (first[10:].diff() < 0).all() and (second[:6].diff() > 0).all()
    assert second[0] < 0.02


def test_one_window_is_the_network_itself():
    net, x, labels = network(), torch.randn(2, 3, 16, 16), torch.tensor([0, 2])
    torch.testing.assert_close(WindowedNetwork(net)(x, *LEVELS, None, labels), net(x, *LEVELS, None, labels))


def test_an_image_does_not_depend_on_its_batch():
    net, x, labels = network(), torch.randn(2, 3, 40, 25), torch.tensor([0, 2])
    both = WindowedNetwork(net)(x, *LEVELS, None, labels)
    second = [level[1:] for level in LEVELS]
    torch.testing.assert_close(both[1:], WindowedNetwork(net)(x[1:], *second, None, labels[1:]))
    for batch in (1, 5, 64):
        torch.testing.assert_close(both, WindowedNetwork(net, batch=batch)(x, *LEVELS, None, labels))
    assert not torch.allclose(both[1:], WindowedNetwork(net)(x[1:], *second, None, labels[:1]), atol=1e-3)


def contrasts(side, overlap, t, u):
    """Mean steps across the borders of windows and across the middles of overlaps, over those elsewhere.

    Summed over traversals of crops of a photograph by random networks of 32 pixels, along rows and columns. The outer
    16 pixels are left out: a network's padding roughens them, with windows or without, and would hide seams.
    """
    photo = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1) / 127.5 - 1
    crops = torch.stack([photo[:, y : y + side, x : x + side] for y, x in ((20, 20), (60, 150), (150, 300))])
    starts = _starts(side, 32, overlap)
    borders = [place - 1 for start in starts for place in (start, start + 32) if 0 < place < side]
    middles = [(start + 32 + following) // 2 - 1 for start, following in itertools.pairwise(starts)]
    elsewhere = sorted(set(range(16, side - 17)) - {*borders, *middles})
    steps = torch.zeros(side - 1)
    for seed in range(3):
        model = BCM(WindowedNetwork(network(seed, 32), overlap), device="cpu")
        moved = model.traverse(crops + t * torch.randn(crops.shape), t, u)
        steps += sum(picture.diff(dim=3).abs().mean((0, 1, 2)) for picture in (moved, moved.mT))
    return [(steps[places].mean() / steps[elsewhere].mean()).item() for places in (borders, middles)]


@pytest.mark.slow
@pytest.mark.parametrize(("t", "u"), [(0.07, 80.0), (0.5, 0.002), (80.0, 0.002)])
def test_no_seams(t, u):
    """At the default overlap. A side of 131 puts borders on even and on odd columns, between which networks differ."""
    assert WindowedNetwork(network(size=32)).overlap == 8
    assert contrasts(131, 8, t, u) == pytest.approx([1, 1], abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("t", "u", "low", "high"), [(0.07, 80.0, 1.2, 2.0), (80.0, 0.002, 0.5, 0.85)])
def test_windows_without_overlap_have_seams(t, u, low, high):
    """Jumps where the picture is smooth; smoother window borders where it is rough."""
    assert all(low < contrast < high for contrast in contrasts(128, 0, t, u))


@pytest.mark.parametrize("overlap", [-1, 16, 64])
def test_overlap_out_of_range(overlap):
    with pytest.raises(
        RestoreError, match=rf"^windows of 16 pixels cannot overlap by {overlap}; give --overlap 0 to 15$"
    ):
        for_any_size(network(), overlap=overlap)


def test_overlap_is_for_windows_only():
    windows = for_any_size(network(), overlap=5)
    assert isinstance(windows, WindowedNetwork) and windows.overlap == 5 and windows.classes == 3
    assert for_any_size(network()).overlap == 4
    with pytest.raises(RestoreError, match=r"^this model runs in exact tiles without blending; omit --overlap$"):
        for_any_size(ConvUNet(channels=(8,), blocks=(1,), middle=1, embedding=16), overlap=0)


def test_as_many_windows_at_once_as_the_memory_allows(monkeypatch):
    cpu = torch.device("cpu")
    with torch.device("meta"):
        published = AdmUNet()
    assert _windows_at_once(published, cpu) == 4
    monkeypatch.setattr(windowed, "WINDOWS_BUDGET", 1)
    assert _windows_at_once(published, cpu) == 1
    monkeypatch.setattr(windowed, "WINDOWS_BUDGET", 2**50)
    assert _windows_at_once(published, cpu) == windowed.MOST_WINDOWS


def test_as_many_windows_at_once_as_half_the_free_memory_of_a_gpu(monkeypatch):
    with torch.device("meta"):
        published = AdmUNet()
    window = 64 * 64 * 192 * windowed.BYTES_PER_WINDOW_PIXEL_AND_CHANNEL
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (30 * window, 1000 * window))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 15 * window)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5 * window)
    assert _windows_at_once(published, torch.device("cuda")) == 20


def test_batches_are_full_and_on_cpu_hold_one_image(monkeypatch):
    cpu, gpu = Local(), Local()
    x = torch.randn(2, 3, 32, 32)
    WindowedNetwork(cpu, 0, batch=3)(x, *LEVELS)
    assert cpu.batches == [3, 1, 3, 1]
    monkeypatch.setattr(windowed, "in_batches", lambda device: True)
    WindowedNetwork(gpu, 0, batch=3)(x, *LEVELS)
    assert gpu.batches == [3, 3, 2]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_image_has_the_same_bits_in_any_batch(count):
    model = BCM(WindowedNetwork(network()), device="cpu")
    x, t, labels = torch.randn(5, 3, 40, 25), torch.tensor([0.1, 0.2, 0.3, 5.0, 60.0]), torch.tensor([0, 2, 1, 1, 0])
    together = model.traverse(x, t, 0.5, labels=labels), model.mean(x, t, labels=labels)
    parts = [slice(i, i + count) for i in range(0, 5, count)]
    assert torch.equal(together[0], torch.cat([model.traverse(x[p], t[p], 0.5, labels=labels[p]) for p in parts]))
    assert torch.equal(together[1], torch.cat([model.mean(x[p], t[p], labels=labels[p]) for p in parts]))
