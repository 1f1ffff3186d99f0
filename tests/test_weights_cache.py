"""The cache of weights: imports, names, locks, and where it is."""

import json
import os
import subprocess
import sys

import pytest
import torch
from published import CHECKPOINT, archive, checkpoint, consistency_model, left, saved

from bcm_restore import networks, weights
from bcm_restore.errors import RestoreError
from bcm_restore.weights import cache
from bcm_restore.weights.download import import_file


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


def test_a_lock_of_another_process_and_of_one_that_died(home):
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
    with cache.locked("net", None):
        pass


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


def test_a_consistency_model_is_said_to_be_one(home, tmp_path):
    mine = tmp_path / "mine.pt"
    mine.write_bytes(saved(consistency_model()))
    with pytest.raises(RestoreError, match=r"is a consistency model, .* 'start = \".*mine.pt\"'"):
        import_file(mine)
    assert left(home) == []
    assert import_file(mine, name="ict-imagenet64")[1].read_bytes() == mine.read_bytes()
    (tmp_path / "bcm.pt").write_bytes(checkpoint())
    with pytest.raises(RestoreError, match="is not a consistency model's checkpoint"):
        import_file(tmp_path / "bcm.pt", name="ict-imagenet64-deep")


def test_imports_that_are_refused(home, tmp_path):
    (tmp_path / "empty").mkdir()
    own = tmp_path / "x.pt"
    own.write_bytes(b"no")
    packed = tmp_path / "packed.zip"
    packed.write_bytes(archive(**{CHECKPOINT: b"no"}))
    for source, options, reason in (
        (tmp_path / "none.pt", {}, "no such file"),
        (tmp_path / "empty", {}, "which file is meant"),
        (own, {}, "x.pt: holds no checkpoint"),
        (packed, {}, f"{packed}{os.sep}{CHECKPOINT}: holds no checkpoint"),
        (own, {"name": weights.DEFAULT}, "inside the package"),
        (own, {"name": "../x"}, "can't be a name"),
    ):
        with pytest.raises(RestoreError) as caught:
            import_file(source, **options)
        assert reason in str(caught.value)
        assert left(home) == []


def test_where_the_cache_is(monkeypatch, tmp_path):
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
