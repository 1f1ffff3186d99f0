"""Interpolation."""

import numpy as np
import pytest
import torch

import bcm_restore
from bcm_restore import tasks
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.tasks.interpolate import slerp, split


def test_interpolation_starts_and_ends_with_the_pictures(portrait, model):
    a, b = portrait, np.ascontiguousarray(portrait[::-1])
    reported = []
    result = tasks.get("interpolate").run(
        (a, b), frames=4, nfe=2, model=model, progress=lambda *args: reported.append(args)
    )
    assert len(result.image) == 4
    assert np.array_equal(result.image[0], a)
    assert np.array_equal(result.image[3], b)
    distances = [psnr(frame, a) for frame in result.image[1:]]
    assert distances == sorted(distances, reverse=True)
    assert result.nfe == 2
    assert reported[-1] == (reported[-1][1],) * 2


def test_interpolation_refuses_invalid_inputs(portrait):
    task = tasks.get("interpolate")
    with pytest.raises(RestoreError, match="takes two pictures, not 1"):
        task.restore((portrait,))
    with pytest.raises(RestoreError, match="1 frames are too few"):
        task.restore((portrait, portrait), frames=1)
    with pytest.raises(RestoreError, match=r"differ in size \(128x128 and 128x100\)"):
        task.restore((portrait, portrait[:100]))


def test_slerp_keeps_the_length_and_splits_the_angle():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, 3, 64, 64, generator=generator) for _ in range(2))
    b *= a.norm() / b.norm()
    middle = slerp(a, b, 0.5)
    assert middle.norm().item() == pytest.approx(a.norm().item(), rel=1e-5)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.3), a)


def test_schemes_are_split_at_their_highest_level():
    up, down = split(bcm_restore.schemes.parse("noise 0.07, to 15, to 80, to 3, to 0"))
    assert (str(up), str(down)) == ("noise 0.07, to 15, to 80", "to 3, to 0")
