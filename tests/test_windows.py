"""Networks of one image size on images of any."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.canvas import Windows, _starts
from bcm_restore.networks import AdmUNet

LEVELS = torch.tensor([0.3]), torch.tensor([0.002])


class Blur(torch.nn.Module):
    """Local, and of one size: windows see the same inside and something else at their borders."""

    size = 16

    def forward(self, x, t, u, maps=None, labels=None):
        assert x.shape[2:] == (16, 16)
        return torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 12))
def test_what_does_not_see_borders_comes_out_as_it_is(height, width, overlap):
    class Twice(Blur):
        def forward(self, x, t, u, maps=None, labels=None):
            assert x.shape[2:] == (16, 16)
            return 2 * x

    x = torch.randn(2, 3, height, width)
    out = Windows(Twice(), max(overlap, 1), batch=3)(x, LEVELS[0].expand(2), LEVELS[1].expand(2))
    torch.testing.assert_close(out, 2 * x)


@settings(max_examples=100)
@given(st.integers(16, 500), st.integers(1, 12))
def test_windows_cover_the_side_and_overlap(length, overlap):
    starts = _starts(length, 16, overlap)
    assert starts[0] == 0 and starts[-1] == length - 16
    assert all(0 < b - a <= 16 - overlap for a, b in itertools.pairwise(starts))


def test_one_window_is_the_network_itself():
    torch.manual_seed(0)
    net = AdmUNet(channels=32, multipliers=(1, 1), blocks=1, attention=(1,), classes=3, head_channels=32, size=16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    net = net.eval().requires_grad_(False)
    x, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 2])
    levels = torch.tensor([0.3, 2.0]), torch.tensor([0.002, 80.0])
    torch.testing.assert_close(Windows(net)(x, *levels, None, labels), net(x, *levels, None, labels))
    large = torch.randn(2, 3, 40, 25)
    both, alone = (
        Windows(net)(large, *levels, None, labels),
        Windows(net)(large[1:], levels[0][1:], levels[1][1:], None, labels[1:]),
    )
    torch.testing.assert_close(both[1:], alone)
