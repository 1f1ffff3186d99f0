"""Initial weights: from shallower networks, and from published consistency models."""

import pytest
import torch
from PIL import Image
from skimage import data

from bcm_restore import networks, weights
from bcm_restore.errors import RestoreError
from bcm_restore.train import start
from bcm_restore.train.config import make_config

RUN = {"run": {"steps": 1}}


def network(config):
    return start.initial_network(make_config({**RUN, **config}))


def test_a_deeper_network_starts_as_the_same_function(tmp_path):
    torch.manual_seed(0)
    small = networks.build("ConvUNet", {"channels": (8, 8), "blocks": (1, 1), "embedding": 16})
    for parameter in small.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "small.safetensors"
    weights.save_model(path, small, {"channels": [8, 8], "blocks": [1, 1], "embedding": 16}, sigma_data=0.4)
    same, arguments, scalings = network({"start": str(path)})
    assert arguments["channels"] == [8, 8]
    assert scalings == {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.4}
    table = {"channels": [8, 8], "blocks": [2, 3], "middle": 2, "embedding": 16}
    deep, _, _ = network({"start": str(path), "network": table})
    assert len(list(deep.parameters())) > len(list(small.parameters()))
    x, t, u = torch.randn(2, 3, 16, 16), torch.tensor([0.3, 3.0]), torch.tensor([0.1, 80.0])
    expected = small(x, t, u)
    torch.testing.assert_close(same(x, t, u), expected)
    torch.testing.assert_close(deep(x, t, u), expected)


def test_a_conditional_network_starts_as_the_same_function(tmp_path):
    """Whatever the image to condition on; and is no start for objectives that give none."""
    torch.manual_seed(0)
    table = {"channels": [8, 8], "blocks": [1, 1], "embedding": 16}
    small = networks.build("ConvUNet", table)
    for parameter in small.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "small.safetensors"
    weights.save_model(path, small, table)
    palette = {"objective": {"name": "palette"}, "damage": {"task": "jpeg", "cases": ["quality-10"]}}
    conditional, arguments, _ = network({"start": str(path), **palette})
    assert arguments["condition"] == 3
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.3, 3.0])
    torch.testing.assert_close(conditional(torch.cat([x, torch.randn(2, 3, 16, 16)], 1), t, t), small(x, t, t))

    again = tmp_path / "conditional.safetensors"
    weights.save_model(again, conditional, arguments, objective="palette", sigma_data=0.5)
    for own in ({}, {"network": table}, {"network": {**table, "condition": 3}}):
        kept = network({"start": str(again), **palette, **own})[0]
        assert torch.equal(kept.entrance.weight, conditional.entrance.weight)
    with pytest.raises(
        RestoreError, match=r"conditional.safetensors: was trained by the objective 'palette'; it is a s"
    ):
        network({"start": str(again)})
    weights.save_model(path, small, table, sigma_data=0.4)
    with pytest.raises(
        RestoreError, match=r"small.safetensors: the objective 'palette' starts from models with sigma_d"
    ):
        network({"start": str(path), **palette})


def test_weights_of_another_width_do_not_fit(tmp_path):
    path = tmp_path / "small.safetensors"
    table = {"channels": [8, 8], "blocks": [1, 1], "embedding": 16}
    weights.save_model(path, networks.build("ConvUNet", table), table)
    with pytest.raises(RestoreError, match=r"small.safetensors: tensor '.*' .* does not fit this \[network\]"):
        network({"start": str(path), "network": {**table, "channels": [8, 12]}})


def test_random_weights_depend_on_the_seed():
    def first(seed):
        torch.manual_seed(seed)
        return network({"network": {"channels": [8, 8], "blocks": [1, 1]}})[0].entrance.weight

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def consistency_model(width=6):
    """Tensors of an iCT checkpoint, with those that embed the noise level, under their published names."""
    torch.manual_seed(0)
    return {
        "time_embed.0.weight": torch.randn(width, 3),
        "time_embed.0.bias": torch.randn(width),
        "time_embed.2.weight": torch.randn(width, width),
        "time_embed.2.bias": torch.randn(width),
        "input_blocks.0.0.weight": torch.randn(4, 3, 3, 3),
    }


def test_make_bidirectional_keeps_the_function():
    before = consistency_model()
    after = start.make_bidirectional(before)
    assert set(after) - set(before) == {
        *(name.replace("time_embed", "time_embed_end") for name in before if name.startswith("time_embed")),
        "time_embed_align.weight",
    }
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(after["time_embed_end.2.weight"], before["time_embed.2.weight"])
    t, u = torch.randn(5, 6), torch.randn(5, 6)
    joined = torch.cat([t, u], 1) @ after["time_embed_align.weight"].T
    assert torch.equal(joined, t)  # independent of u
    assert start.make_bidirectional(after) == after


def test_other_files_are_not_checkpoints(tmp_path):
    path = tmp_path / "ict.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(RestoreError, match="not a consistency model's checkpoint"):
        start.read_consistency_model(path)
    torch.save(consistency_model(), path)
    assert "time_embed_align.weight" in start.read_consistency_model(path)
    with pytest.raises(RestoreError, match="not an AdmUNet's tensors"):
        network({"start": str(path)})


@pytest.mark.slow
def test_training_from_a_consistency_model(tmp_path):
    """The initial function is the consistency model's for every u; then it learns."""
    torch.manual_seed(0)
    table = {"channels": 64, "multipliers": (1, 1), "blocks": 1, "attention": (1,), "classes": 3}
    published = networks.build("AdmUNet", table)
    for parameter in published.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    tensors = {name: t for name, t in published.state_dict().items() if not name.startswith("time_embed_")}
    path = tmp_path / "ict.pt"
    torch.save(tensors, path)
    first, arguments, _ = network({"start": str(path)})
    assert {name: arguments[name] for name in table} == table
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([0.3, 3.0])
    torch.testing.assert_close(first(x, t, torch.tensor([0.002, 80.0])), first(x, t, t), rtol=0, atol=1e-6)
    folder = tmp_path / "cats"
    folder.mkdir()
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    document = {
        "start": str(path),
        "data": {"sources": [str(folder)], "labels": True},
        "objective": {"name": "bct", "maps": 0},
        "run": {"steps": 1, "batch": 1, "compile": False},
    }
    trainer = start.prepare(make_config(document), tmp_path, "cpu").trainer
    losses = trainer.step()
    assert set(losses) == {"consistency", "soft"} and all(loss > 0 for loss in losses.values())
    trainer.save()
    model = weights.load_model(tmp_path / "model.safetensors", device="cpu")
    assert not model.diagonal and not model.level_maps
    assert model.invert(x, 0.07).shape == x.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": {"maps": 0.5}}, "does not support level maps"),
        ({"data": {"crop": 32}}, "takes crops of 64 pixels"),
    ],
)
def test_adm_unet_rejects_level_maps_and_other_sizes(tmp_path, change, message):
    table = {"architecture": "AdmUNet", "channels": 32, "multipliers": [1], "blocks": 1, "attention": [], "classes": 0}
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.png")
    document = {**RUN, "network": {**table, "head_channels": 32}, "objective": {"maps": 0}, **change}
    document["data"] = {"sources": [str(tmp_path)], **document.get("data", {})}
    with pytest.raises(RestoreError, match=message):
        start.prepare(make_config(document), tmp_path, "cpu")
