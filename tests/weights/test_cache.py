"""The cache of weights: its folder, imports, names and locks."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
import torch
from helpers.published import CHECKPOINT, archive, checkpoint, consistency_model, left, saved, tensors
from safetensors.torch import save_file

from bcm_restore import networks, weights
from bcm_restore.errors import RestoreError
from bcm_restore.weights import cache
from bcm_restore.weights.download import import_file


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


def test_a_lock_of_another_process_and_of_a_killed_one(home):
    code = (
        "import os\nfrom bcm_restore.weights import cache\n"
        "with cache.locked('net', None):\n    print('locked', flush=True)\n    input()\n    os._exit(1)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), **pipes) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RestoreError, match="another process"), cache.locked("net", None):
            pass
        process.communicate("die\n", timeout=30)
    assert (home / ".net.busy").is_file()
    with cache.locked("net", None):
        pass
    assert [path.name for path in home.iterdir()] == [".cache.lock"]


def test_a_lock_is_held_by_one_at_a_time(home, monkeypatch):
    monkeypatch.setattr(cache, "POLL", 0.0005)
    inside, most, rounds = 0, 0, 0

    def work():
        nonlocal inside, most, rounds
        for _ in range(20):
            with cache.locked("net", cache.silent):
                inside += 1
                time.sleep(0.0005)
                most, rounds, inside = max(most, inside), rounds + 1, inside - 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, rounds) == (1, 80)
    assert [path.name for path in home.iterdir()] == [".cache.lock"]


def test_files_of_a_killed_process_are_removed(home):
    for folder in (".net.tmp-1", ".other.tmp-1"):
        (home / folder).mkdir(parents=True)
        (home / folder / "ema.pt").write_bytes(b"half")
    (home / "net.part").write_bytes(b"half")
    assert cache.remove("net") == [home / "net.part"]
    assert left(home) == [".other.tmp-1"]


def test_imports(home, tmp_path):
    loose = tmp_path / "my net (1).pt"
    loose.write_bytes(checkpoint())
    name, path = import_file(loose)
    assert (name, path) == ("my-net-1", home / "my-net-1.safetensors")
    folder = tmp_path / "bcf_imagenet64_no32_qkv_deep_4096"
    folder.mkdir()
    (folder / CHECKPOINT).write_bytes(checkpoint())
    (folder / "model.pt").write_bytes(b"no")
    assert import_file(folder)[0] == "bcm-imagenet64-deep"
    with pytest.raises(RestoreError, match="--overwrite"):
        import_file(folder)
    (tmp_path / f"{folder.name}.zip").write_bytes(archive())
    assert import_file(tmp_path / f"{folder.name}.zip", overwrite=True)[0] == "bcm-imagenet64-deep"
    own = tmp_path / "own.safetensors"
    network = networks.build("ConvUNet", {"channels": [8, 8], "blocks": [1, 1]})
    weights.save_model(own, network, {"channels": [8, 8], "blocks": [1, 1]}, diagonal=True)
    path = import_file(own, name="mine")[1]
    assert weights.read(path)[0] == weights.read(own)[0]
    assert all(tensor.dtype == torch.float32 for tensor in weights.read(path)[1].values())
    assert cache.names() == ["bcm-imagenet64-deep", "mine", "my-net-1"]


def test_a_consistency_model_is_only_a_start(home, tmp_path):
    mine = tmp_path / "mine.pt"
    mine.write_bytes(saved(consistency_model()))
    with pytest.raises(RestoreError) as caught:
        import_file(mine)
    assert str(caught.value) == (
        f"{mine}: a consistency model, not a bidirectional one, so it cannot restore; to train from it, give it as "
        "'start' in the configuration of 'bcm-restore train'"
    )
    assert left(home) == []
    assert import_file(mine, name="ict-imagenet64")[1].read_bytes() == mine.read_bytes()
    (tmp_path / "bcm.pt").write_bytes(checkpoint())
    with pytest.raises(RestoreError, match="not a consistency model's checkpoint"):
        import_file(tmp_path / "bcm.pt", name="ict-imagenet64-deep")
    part = {name: tensor for name, tensor in consistency_model().items() if name != "out.2.weight"}
    (tmp_path / "part.pt").write_bytes(saved(part))
    with pytest.raises(RestoreError, match=r"tensor 'out\.2\.weight' is missing"):
        import_file(tmp_path / "part.pt", name="ict-imagenet64-deep")
    assert left(home) == ["ict-imagenet64.json", "ict-imagenet64.pt"]


@pytest.mark.parametrize(
    "missing",
    (
        "time_embed.0.weight",
        "time_embed_end.2.bias",
        "time_embed_align.weight",
        "input_blocks.0.0.weight",
        "output_blocks.0.0.in_layers.0.weight",
        "output_blocks.2.0.out_layers.0.weight",
        "out.2.weight",
    ),
)
def test_missing_tensors_are_named(home, tmp_path, missing):
    mine = tmp_path / "mine.pt"
    mine.write_bytes(saved({name: tensor for name, tensor in tensors().items() if name != missing}))
    assert missing in tensors()
    with pytest.raises(RestoreError) as caught:
        import_file(mine)
    assert str(caught.value).startswith(f"{mine}: not a known network: ")
    assert f"'{missing}' is missing" in str(caught.value)
    assert left(home) == []


@pytest.mark.parametrize("name", ("time_embed.0.weight", "label_emb.weight", "output_blocks.0.0.out_layers.0.weight"))
@pytest.mark.parametrize("shape", ((), (3,), (3, 0)))
def test_tensors_of_other_shapes(home, tmp_path, name, shape):
    mine = tmp_path / "mine.pt"
    mine.write_bytes(saved({**tensors(), name: torch.zeros(shape)}))
    with pytest.raises(RestoreError, match=r"mine\.pt: not a known network: "):
        import_file(mine)
    assert left(home) == []


def test_tensors_that_share_memory(tmp_path):
    tied = {**tensors(), "time_embed_end.0.weight": tensors()["time_embed.0.weight"]}
    (tmp_path / "mine.pt").write_bytes(saved(tied))
    for precision in ("fp32", "fp16"):
        stored = weights.read(import_file(tmp_path / "mine.pt", precision=precision, overwrite=True)[1])[1]
        assert torch.equal(stored["time_embed_end.0.weight"], stored["time_embed.0.weight"])


def test_damaged_models_of_this_package(home, tmp_path):
    own = tmp_path / "own.safetensors"
    network = networks.build("ConvUNet", {"channels": [8, 8], "blocks": [1, 1]})
    weights.save_model(own, network, {"channels": [8, 8], "blocks": [1, 1]})
    description, whole = weights.read(own)
    part = {name: tensor for name, tensor in whole.items() if name != "exit.bias"}
    for stored, text, reason in (
        (part, json.dumps(description), "tensor 'exit.bias' is missing"),
        (whole, json.dumps({**description, "architecture": "Other"}), "network 'Other' is not known"),
        (whole, "{}", "its description of the model is damaged"),
        (whole, "[1]", "its description of the model is damaged"),
        (whole, "no JSON", "its description of the model is damaged"),
    ):
        save_file(stored, own, {"bcm_restore": text})
        with pytest.raises(RestoreError) as caught:
            import_file(own)
        assert reason in str(caught.value) and "\n" not in str(caught.value)
        assert left(home) == []


def test_invalid_imports(home, tmp_path):
    (tmp_path / "empty").mkdir()
    own = tmp_path / "x.pt"
    own.write_bytes(b"no")
    page, pages = tmp_path / "page.pt", tmp_path / "pages.zip"
    for path in (page, pages):
        path.write_text("<!DOCTYPE html><p>log in")
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    numbered = tmp_path / "numbered.pt"
    numbered.write_bytes(saved({**tensors(), 1: torch.ones(1)}))
    packed = tmp_path / "packed.zip"
    packed.write_bytes(archive(**{CHECKPOINT: b"no"}))
    for source, options, reason in (
        (tmp_path / "none.pt", {}, "no such file"),
        (tmp_path / "empty", {}, "choose one with --file"),
        (own, {}, "x.pt: not a checkpoint"),
        (page, {}, "page.pt: a web page"),
        (pages, {}, "pages.zip: a web page"),
        (text, {}, "text.safetensors: not a readable .safetensors file"),
        (numbered, {}, "does not contain a network's tensors by name"),
        (packed, {}, f"{packed}{os.sep}{CHECKPOINT}: not a checkpoint"),
        (own, {"name": weights.DEFAULT}, "inside the package"),
        (own, {"name": "../x"}, "not a valid name"),
    ):
        with pytest.raises(RestoreError) as caught:
            import_file(source, **options)
        assert reason in str(caught.value) and "\n" not in str(caught.value)
        assert not home.exists() or [path.name for path in home.iterdir()] == [".cache.lock"]


def test_folder_of_the_cache(monkeypatch, tmp_path):
    assert cache.folder() == tmp_path / "home" / "weights"
    monkeypatch.delenv("BCM_RESTORE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "bcm-restore" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder().parts[-3:] == (".cache", "bcm-restore", "weights")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.folder().parts[-4:] == ("Library", "Caches", "bcm-restore", "weights")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache.folder() == tmp_path / "bcm-restore" / "weights"


def test_a_damaged_record(home):
    home.mkdir(parents=True)
    for text in ("", "[]", json.dumps({"file": "x"})):
        (home / "net.json").write_text(text)
        with pytest.raises(RestoreError, match=r"net.json: not a readable record; 'bcm-restore weights remove net'"):
            cache.find("net")
        cache.remove("net")
        assert left(home) == []
