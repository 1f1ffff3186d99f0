import json
import tempfile
from pathlib import Path

import pytest
import torch
from helpers.published import checkpoint, consistency_model, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

import bcm_restore
from bcm_restore import weights
from bcm_restore.errors import RestoreError
from bcm_restore.networks import ConvUNet
from bcm_restore.weights.download import import_file

DEFAULT = weights.read(weights.find(weights.DEFAULT))
CONFIG = {"channels": [8, 12], "blocks": [1, 1], "middle": 1, "embedding": 16, "unshuffle": 2}


def test_a_saved_model_loads_from_its_file(tmp_path):
    network = ConvUNet(**CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    path = tmp_path / "mine.safetensors"
    weights.save_model(path, network, CONFIG, sigma_data=0.4, diagonal=False, level_maps=True)
    model = bcm_restore.load_model(path, device="cpu")
    assert (model.name, model.sigma_data, model.diagonal, model.level_maps) == ("mine", 0.4, False, True)
    loaded = model.network.network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.state_dict().items())


def test_the_default_model_is_inside_the_package():
    assert weights.DEFAULT in weights.names()
    model = bcm_restore.load_model(device="cpu")
    assert model.name == weights.DEFAULT
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    # It denoises: the result is much nearer to the flat image than the input.
    noisy = 0.2 + 0.3 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert (model.mean(noisy, 0.3) - 0.2).square().mean() < (noisy - 0.2).square().mean() / 50


def test_bfloat16_on_cpu_stays_near_float32():
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    exact, near = (bcm_restore.load_model(device="cpu", dtype=dtype).mean(x, 0.3) for dtype in ("fp32", torch.bfloat16))
    assert near.dtype == torch.float32
    assert 0 < (exact - near).abs().max() < 0.05


def test_errors_of_unknown_models_suggest_close_names():
    with pytest.raises(RestoreError, match=r"'bcm-photo-smal' is neither .* did you mean 'bcm-photo-small'"):
        bcm_restore.load_model("bcm-photo-smal")


def write(path, tensors, description):
    save_file(tensors, path, None if description is None else {"bcm_restore": json.dumps(description)})
    return path


def test_files_that_are_not_models_are_named(tmp_path):
    tensors = {name: tensor.contiguous() for name, tensor in ConvUNet(**CONFIG).state_dict().items()}
    description = {"architecture": "ConvUNet", "config": CONFIG, "model": {}}
    missing = {name: tensor for name, tensor in tensors.items() if name != "exit.bias"}
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    whole = write(tmp_path / "whole.safetensors", tensors, description)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-1000])
    assert bcm_restore.load_model(whole, device="cpu").name == "whole"
    for path, reason in (
        (text, "not a readable .safetensors file"),
        (cut, "not a readable .safetensors file"),
        (write(tmp_path / "bare.safetensors", tensors, None), "has tensors but no description"),
        (write(tmp_path / "missing.safetensors", missing, description), "tensor 'exit.bias' is missing"),
        (write(tmp_path / "more.safetensors", {**tensors, "more": torch.ones(1)}, description), "'more' belongs to"),
        (
            write(tmp_path / "shape.safetensors", {**tensors, "exit.bias": torch.ones(3)}, description),
            r"tensor 'exit.bias' is \(3,\), not \(12,\)",
        ),
    ):
        with pytest.raises(RestoreError, match=reason) as caught:
            bcm_restore.load_model(path, device="cpu")
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_model_file_with_altered_bytes_raises_an_error(data):
    """Alters the header, the description or a tensor."""
    whole = weights.find(weights.DEFAULT).read_bytes()
    place = data.draw(st.one_of(st.integers(0, len(whole) - 1), st.integers(0, 4000)))
    altered = bytearray(whole)
    altered[place] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "altered.safetensors"
        path.write_bytes(altered)
        try:
            description, tensors = weights.read(path)
        except RestoreError as error:
            assert str(error).startswith(f"{path}: ")
        else:  # an irrelevant byte: a space, or the key of the digest
            assert (description, tensors.keys()) == (DEFAULT[0], DEFAULT[1].keys())
            assert all(torch.equal(tensor, tensors[name]) for name, tensor in DEFAULT[1].items())


def test_a_truncated_or_altered_model_file_stops_a_run_at_the_start(cli, photo, tmp_path):
    whole = weights.find(weights.DEFAULT).read_bytes()
    altered = tmp_path / "altered.safetensors"
    for damaged in (whole[: len(whole) // 2], whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]):
        altered.write_bytes(damaged)
        assert cli.refuses(tmp_path, "super-resolve", tmp_path, "--model", altered).startswith(f"error: {altered}: ")


def test_files_of_earlier_versions_have_no_digest(tmp_path):
    description, tensors = weights.read(weights.find(weights.DEFAULT))
    path = tmp_path / "old.safetensors"
    path.write_bytes(save(tensors, {"bcm_restore": json.dumps(description)}))
    assert bcm_restore.load_model(path, device="cpu").name == "old"


def test_a_published_checkpoint_loads_as_after_its_import(tmp_path, monkeypatch):
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    file = tmp_path / "ema_0.9999.pt"
    file.write_bytes(checkpoint())
    model = weights.load_model(file, device="cpu")
    import_file(file, name="mine", precision="fp32")
    imported = weights.load_model("mine", device="cpu")
    assert model.name == "ema_0.9999"
    assert (model.diagonal, model.classes) == (imported.diagonal, imported.classes)
    theirs = imported.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.network.state_dict().items())


@pytest.mark.parametrize("name", ["model", "model.pt", "model.PTH", "model.safetensors", "model.bin"])
def test_what_a_file_is_stands_in_it_not_in_its_name(tmp_path, monkeypatch, name):
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    network = ConvUNet(**CONFIG)
    checkpoint_file, file = tmp_path / "checkpoint" / name, tmp_path / name
    checkpoint_file.parent.mkdir()
    checkpoint_file.write_bytes(checkpoint())
    weights.save_model(file, network, CONFIG)
    for path, kind in ((file, "ConvUNet"), (checkpoint_file, "AdmUNet")):
        model = weights.load_model(path, device="cpu")
        import_file(path, name="own", overwrite=True)
        imported = weights.load_model("own", device="cpu")
        assert weights.read(weights.find("own"))[0]["architecture"] == kind
        assert (model.name, model.classes) == ("model", imported.classes)
        assert model.network.state_dict().keys() == imported.network.state_dict().keys()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a checkpoint", "not a checkpoint, or damaged"),
        (b"<!doctype html>", "a web page"),
        (saved({"weight": torch.zeros(3)}), "not a known network"),
        (saved([1, 2]), "does not contain a network's tensors"),
        (saved(consistency_model()), "a consistency model, not a bidirectional one"),
    ],
)
def test_errors_of_other_pt_files_name_their_contents(tmp_path, content, reason):
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(content)
    with pytest.raises(RestoreError, match=f"checkpoint.pt: {reason}"):
        weights.load_model(file, device="cpu")
