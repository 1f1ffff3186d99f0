"""`bcm-restore weights`, as a user runs it."""

import hashlib
import json

import pytest

from bcm_restore import networks, weights
from bcm_restore.weights import cache, catalogue

TABLE = {"channels": [8, 8], "blocks": [1, 1]}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.safetensors"
    weights.save_model(path, networks.build("ConvUNet", TABLE), TABLE)
    return path


def test_help(cli):
    listing = cli("weights").stdout
    for command in ("list", "download", "verify", "import", "path", "remove"):
        assert command in listing
        assert f"Example: bcm-restore weights {command}" in cli("weights", command, "--help").stdout
    assert "Example: bcm-restore weights" in listing


def test_list(cli, own):
    listing = cli("weights", "list").stdout
    assert f"{weights.DEFAULT}: model, the default [in the package]" in listing
    assert "[to download, about 1120 MB]" in listing
    for entry in catalogue.entries().values():
        assert f"{entry.name}: {entry.summary}" in listing
        assert f"licence: {entry.licence}" in listing
    cli("weights", "import", own)
    assert f"own: imported from {own} [in the cache]" in cli("weights", "list").stdout
    rows = json.loads(cli("weights", "list", "--json").stdout)
    assert rows["own"]["state"] == "in the cache"
    assert rows["lpips-alex"]["sha256"].startswith("7be5be79")


def test_import_path_verify_remove(cli, home, own, tmp_path):
    stored = home / "mine.safetensors"
    assert cli("weights", "import", own, "--name", "mine", "--precision", "fp16").stdout == f"mine: {stored}\n"
    assert cli("weights", "path").stdout == f"{home}\n"
    assert cli("weights", "path", "mine").stdout == f"{stored}\n"
    assert cli("weights", "verify").stdout == "mine: as recorded\n"
    assert "--overwrite" in cli.refuses(tmp_path, "weights", "import", own, "--name", "mine")
    stored.write_bytes(stored.read_bytes()[:-1])
    assert "mine.safetensors: damaged" in cli.refuses(tmp_path, "weights", "verify", "mine")
    assert "damaged" in json.loads(cli("weights", "verify", "--json", status=2).stdout)["mine"]
    assert cli("weights", "remove", "mine").stdout == "mine: removed\n"
    assert cache.names() == []
    cli.refuses(tmp_path, "weights", "remove", "mine")
    assert [path.name for path in home.iterdir()] == [".cache.lock"]


def test_nothing_to_verify_is_reported(cli, home):
    result = cli("weights", "verify")
    assert (result.stdout, result.stderr) == ("", f"nothing to verify: no weights are in the cache, {home}\n")
    assert json.loads(cli("weights", "verify", "--json").stdout) == {}


def test_download(cli, home, tmp_path, monkeypatch):
    data = b"a network"
    known = catalogue.get("inception-fid")
    fields = {**vars(known), "sha256": hashlib.sha256(data).hexdigest()}
    monkeypatch.setattr(catalogue, "entries", lambda: {known.name: catalogue.Entry(**fields)})

    def fetch(url, part, progress):
        assert url == known.url
        part.write_bytes(data)
        progress(len(data), len(data))

    monkeypatch.setattr("bcm_restore.weights.transfer.fetch", fetch)
    result = cli("weights", "download", "inception-fid")
    assert result.stdout == f"inception-fid: {home / known.file}\n"
    assert "licence Apache-2.0" in result.stderr
    assert (home / known.file).read_bytes() == data
    result = cli("weights", "download", "inception-fid", "--json")
    assert json.loads(result.stdout) == {"inception-fid": str(home / known.file)}
    assert "already in the cache" in result.stderr


def test_refusals(cli, tmp_path, own):
    assert "did you mean 'lpips-alex'" in cli.refuses(tmp_path, "weights", "download", "lpips-alec")
    assert "inside the package" in cli.refuses(tmp_path, "weights", "download", weights.DEFAULT)
    assert "'weights download lpips-alex'" in cli.refuses(tmp_path, "weights", "path", "lpips-alex").replace(
        "bcm-restore ", ""
    )
    assert "choose one of bcm-imagenet64, " in cli.refuses(tmp_path, "weights", "path", "nothing")
    assert "not in the cache" in cli.refuses(tmp_path, "weights", "remove", "own")
    assert "not in the cache" in cli.refuses(tmp_path, "weights", "remove", "../own")
    assert "not in the cache" in cli.refuses(tmp_path, "weights", "verify", "own")
    assert "no such file" in cli.refuses(tmp_path, "weights", "import", tmp_path / "none.pt")
    assert "one NAME" in cli.refuses(tmp_path, "weights", "download", "lpips-alex", "inception-fid", "--file", "x")
    cli.refuses(tmp_path, "weights", "download")
    cli.refuses(tmp_path, "weights", "downlod")
