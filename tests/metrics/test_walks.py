"""The metrics of interpolation: the length of a path, and its ends."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bcm_restore.bench.measures import path_length, psnr_ends
from bcm_restore.errors import RestoreError
from bcm_restore.simulation.degradations import Example


def walk(*frames):
    """A result of these frames, and the example with grey ends of values 0 and 200."""
    ends = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (0, 200)])
    strip = np.concatenate([np.broadcast_to(np.uint8(frame), (4, 6, 3)) for frame in frames], axis=1)
    return strip, Example(ends, strip, {"frames": len(frames)})


def test_the_straight_line_has_length_one():
    assert path_length(*walk(0, 50, 100, 200)) == pytest.approx(1)
    assert path_length(*walk(0, 200)) == pytest.approx(1)


def test_detours_are_longer():
    assert path_length(*walk(0, 150, 50, 200)) == pytest.approx((150 + 100 + 150) / 200)
    sideways = [0, (100, 100, 200), 200]  # the steps are root mean squares over the channels
    step = [math.sqrt((100**2 + 100**2 + 200**2) / 3), math.sqrt((100**2 + 100**2 + 0) / 3)]
    assert path_length(*walk(*sideways)) == pytest.approx(sum(step) / 200)


def test_equal_pictures_have_no_path():
    strip, example = walk(0, 0)
    same = replace(example, damaged=example.damaged[[0, 0]])
    with pytest.raises(RestoreError, match="the two pictures are equal"):
        path_length(strip, same)


def test_ends():
    assert psnr_ends(*walk(0, 7, 200)) == 100
    strip, example = walk(3, 90, 196)
    error = (3**2 + 4**2) / 2
    assert psnr_ends(strip, example) == pytest.approx(10 * math.log10(255**2 / error))
