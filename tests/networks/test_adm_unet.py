"""AdmUNet against the published implementation's outputs, and against plain transcriptions of its parts."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM
from bcm_restore.networks import AdmUNet, ConvUNet, Network, build
from bcm_restore.networks.adm_unet import Attention, Residual, infer_config

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "classes": 10}
TINY = {**SMALL, "classes": 4, "head_channels": 8, "size": 16}
IMAGENET64 = {
    "channels": 192,
    "multipliers": (1, 2, 3, 4),
    "blocks": 3,
    "attention": (2, 3),
    "classes": 1000,
    "head_channels": 64,
    "size": 64,
}
PUBLISHED_SHAPES = "eb718e26e6735603fb8c677b58c777df2bad21825e1daa0093fdf5ccc9b508db"

needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the fixtures are not beside this checkout")


def on_meta(config):
    with torch.device("meta"):
        return AdmUNet(**config)


def shapes(network):
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def digest(shapes):
    return hashlib.sha256("\n".join(f"{name} {shapes[name]}" for name in sorted(shapes)).encode()).hexdigest()


def scrambled(network):
    """Randomises all parameters, so that none is zero."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tiny():
    return scrambled(AdmUNet(**TINY))


def inputs(batch=3, side=16):
    torch.manual_seed(1)
    return torch.randn(batch, 3, side, side), torch.tensor([0.07, 2.4, 80.0])[:batch], torch.tensor([80.0, 0.4, 0.002])


@pytest.fixture(scope="module")
def published():
    """A small network of the published implementation loaded into ours, with its inputs and outputs."""
    from safetensors.torch import load_file

    network = build("AdmUNet", {**SMALL, "head_channels": 16, "size": 16})
    network.load_state_dict(load_file(FIXTURES / "adm_small_weights.safetensors"))
    return network.eval().requires_grad_(False), load_file(FIXTURES / "adm_small_io.safetensors")


@pytest.mark.shared
@needs_fixtures
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_published_outputs_are_reproduced(published, memory_format):
    network, io = published
    x, t, u = (io[name] for name in ("x", "t", "u"))
    network = network.to(memory_format=memory_format)
    raw = network((x / (t**2 + 0.25).sqrt().view(-1, 1, 1, 1)).to(memory_format=memory_format), t, u, None, io["y"])
    torch.testing.assert_close(raw, io["raw"], rtol=0, atol=1e-5)


@pytest.mark.shared
@needs_fixtures
def test_the_published_map_is_reproduced(published):
    network, io = published

    class Labelled(Network):
        def forward(self, x, t, u, maps):
            return network(x, t, u, maps, io["y"])

    found = BCM(Labelled(), device="cpu").traverse(io["x"], io["t"], io["u"])
    for f, expected, u in zip(found, io["f"], io["u"].tolist(), strict=True):
        # From 0.07 to 80, |c_out| is 79, |f| up to 170, and published F itself is 1.3e-6 off its value in float64.
        torch.testing.assert_close(f, expected, rtol=0, atol=1e-5 * max(1, u))


@pytest.mark.shared
@needs_fixtures
@pytest.mark.parametrize(("file", "config"), [("adm_small", SMALL), ("adm_imagenet64", IMAGENET64)])
def test_configurations_are_inferred_from_published_shapes(file, config):
    expected = json.loads((FIXTURES / f"{file}.json").read_text())["keys"]
    inferred = infer_config({name: torch.empty(shape, device="meta") for name, shape in expected.items()})
    assert inferred == {**config, "head_channels": 64, "size": 64}
    assert shapes(on_meta(inferred)) == expected


def test_the_defaults_are_the_published_network():
    """Its 504 names and shapes, as the digest of those of shared/fixtures/adm_imagenet64.json."""
    network = on_meta({})
    assert len(network.state_dict()) == 504
    assert digest(shapes(network)) == PUBLISHED_SHAPES
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == 280
    assert (network.classes, network.multiple, network.size) == (1000, 8, 64)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"blocks": 6},
        {"classes": 0},
        {"attention": ()},
        {"channels": 64, "multipliers": (1, 1, 2, 3, 4), "blocks": 2, "attention": (1, 3)},
        {"channels": 64, "multipliers": (2,), "blocks": 1, "attention": (0,)},
    ],
)
def test_configurations_are_inferred(config):
    assert infer_config(on_meta(config).state_dict()) == {**IMAGENET64, **config}


def test_tensors_of_other_networks_have_no_configuration():
    with pytest.raises(RestoreError, match=r"not an AdmUNet's tensors \('time_embed.0.weight' is missing\)"):
        infer_config(ConvUNet(channels=(8, 8), blocks=(1, 1), embedding=16).state_dict())
    tensors = on_meta(TINY).state_dict()
    cut = {name: tensor for name, tensor in tensors.items() if not name.startswith("output_blocks.0.")}
    with pytest.raises(RestoreError, match="AdmUNet"):
        infer_config(cut)


def test_a_fresh_network_is_zero_and_its_blocks_are_identities():
    x, t, u = inputs()
    assert torch.equal(AdmUNet(**TINY)(x, t, u), torch.zeros_like(x))
    h, e = torch.randn(2, 32, 8, 8), torch.randn(2, 16)
    assert torch.equal(Residual(32, 32, 16)(h, e), h)
    assert torch.equal(Attention(32, 8)(h), h)


def test_attention_is_its_formula():
    """Image by image and head by head, from the definition, in float64."""
    block = scrambled(Attention(96, 32)).double()
    x = torch.randn(2, 96, 4, 6, dtype=torch.float64)
    expected = x.clone()
    for i in range(len(x)):
        qkv = block.qkv(block.norm(x[i : i + 1])).reshape(3, 3, 32, 24)
        heads = []
        for head in range(3):
            q, k, v = (part / (1e-4 + part.square().mean(0).sqrt()) for part in qkv[:, head])
            weights = torch.softmax(q.T @ k / math.sqrt(32), 1)  # of pixel s for pixel t, (t, s)
            heads.append(v @ weights.T)
        expected[i] += block.proj_out(torch.cat(heads).reshape(1, 96, 4, 6))[0]
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("resample", [None, lambda x: F.avg_pool2d(x, 2), lambda x: F.interpolate(x, scale_factor=2.0)])
def test_a_residual_block_is_its_formula(resample):
    block = scrambled(Residual(32, 64, 16, resample=resample))
    x, e = torch.randn(2, 32, 8, 8), torch.randn(2, 16)
    size = resample or (lambda x: x)
    h = F.conv2d(size(block.in_layers[:2](x)), block.in_layers[2].weight, block.in_layers[2].bias, padding=1)
    h = block.out_layers(h + block.emb_layers[1](e)[:, :, None, None])
    torch.testing.assert_close(block(x, e), block.skip_connection(size(x)) + h)


def test_levels_are_embedded_as_published(tiny):
    """Cosines, then sines, of 250 log(level) at frequencies that fall from 1 to 1e-4."""
    _, t, u = inputs()
    half = 16

    def waves(level):
        angles = [[250 * math.log(value) * 10_000 ** (-i / half) for i in range(half)] for value in level.tolist()]
        return torch.cat([torch.tensor(angles).cos(), torch.tensor(angles).sin()], 1)

    both = torch.cat([tiny.time_embed(waves(t)), tiny.time_embed_end(waves(u))], 1)
    labels = torch.tensor([3, 0, 1])
    expected = F.silu(both @ tiny.time_embed_align.weight.T + tiny.label_emb.weight[labels])
    torch.testing.assert_close(tiny._embed(t, u, labels), expected, rtol=1e-3, atol=1e-3)


def test_no_label_uses_the_mean_embedding(tiny):
    x, t, u = inputs()
    mean = tiny(x, t, u)
    assert (tiny(x, t, u, None, torch.tensor([0, 1, 2])) - mean).abs().max() > 1e-2
    same = scrambled(AdmUNet(**TINY))
    same.label_emb.weight[:] = same.label_emb.weight.mean(0)
    torch.testing.assert_close(same(x, t, u, labels=torch.tensor([3, 0, 1])), mean, rtol=1e-4, atol=1e-4)


def test_level_maps_and_labels_without_classes_are_refused(tiny):
    x, t, u = inputs()
    with pytest.raises(RestoreError, match="AdmUNet does not support level maps"):
        tiny(x, t, u, torch.zeros(3, 2, 16, 16))
    unconditional = AdmUNet(**{**TINY, "classes": 0})
    assert unconditional(x, t, u).shape == x.shape
    with pytest.raises(RestoreError, match="without class labels"):
        unconditional(x, t, u, labels=torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("config", [{"channels": 33}, {"head_channels": 7}, {"attention": (2,)}, {"colour": "blue"}])
def test_impossible_configurations_are_refused(config):
    with pytest.raises(RestoreError, match="AdmUNet cannot be built from the configuration"):
        build("AdmUNet", {**TINY, **config})


def test_memory_format_and_batch_change_nothing(tiny):
    x, t, u = inputs()
    expected = tiny(x, t, u)
    one_by_one = torch.cat([tiny(x[i : i + 1], t[i : i + 1], u[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=1e-4)
    last = scrambled(AdmUNet(**TINY)).to(memory_format=torch.channels_last)
    out = last(x.to(memory_format=torch.channels_last), t, u)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(tiny, dtype):
    x, t, u = inputs()
    expected = tiny(x, t, u)
    with torch.autocast("cpu", dtype):
        found = tiny(x, t, u).float()
    assert (found - expected).square().mean() < 4e-4 * expected.square().mean()


def test_gradients_reach_every_parameter():
    network = scrambled(AdmUNet(**{**TINY, "dropout": 0.2})).train().requires_grad_(True)
    network(*inputs(), labels=torch.arange(3)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)].count(0.2) > 0
