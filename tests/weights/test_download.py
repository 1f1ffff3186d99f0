"""Downloads from a server in this process that breaks connections, sends wrong data, or supports no ranges."""

import errno
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from helpers.published import CHECKPOINT, Server, archive, checkpoint, consistency_model, left, saved, tensors
from helpers.runs import DEADLINE
from safetensors.torch import load_file

from bcm_restore import networks, weights
from bcm_restore.errors import RestoreError
from bcm_restore.weights import archives, cache, catalogue, convert, transfer
from bcm_restore.weights.catalogue import Entry
from bcm_restore.weights.download import download, remove

TEXT = {"tasks": "all", "resolution": "64x64", "licence": "MIT", "citation": "someone", "summary": "a network"}


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSES", (0.0, 0.0))
    return tmp_path / "home" / "weights"


@pytest.fixture
def catalogued(server, monkeypatch):
    """Adds entries of the server to the catalogue."""

    def add(name="net", **fields):
        table = {"kind": "model", "folder": "net_64", "url": server.url, **TEXT, **fields}
        known = {**catalogue.entries(), name: Entry(name=name, **table)}
        monkeypatch.setattr(catalogue, "entries", lambda: known)
        return name

    server.data = archive()
    return add


def error_of(home, name="net", keeps=(), **options):
    with pytest.raises(RestoreError) as caught:
        download(name, **options)
    assert left(home) == sorted(keeps)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_catalogue_is_complete():
    entries = catalogue.entries()
    assert {"bcm-imagenet64", "bcm-imagenet64-deep", "ict-imagenet64", "lpips-alex", "inception-fid"} <= set(entries)
    for entry in entries.values():
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.folder is None or entry.url.endswith(f"folder_path={entry.folder}")
        if entry.kind == "metric":  # the publishers' file names end in the first digits
            assert entry.sha256[:8] in entry.url and entry.url.endswith(entry.file)
    with pytest.raises(RestoreError, match="did you mean 'bcm-imagenet64'"):
        catalogue.get("bcm-imagenet46")


def test_a_model_is_downloaded_converted_and_recorded(home, server, catalogued):
    notes, seen = [], []
    path = download(catalogued(), progress=lambda *bytes: seen.append(bytes), note=notes.append)
    assert path == home / "net.safetensors"
    assert left(home) == ["net.json", "net.safetensors"]
    assert seen[-1] == (len(server.data), len(server.data))
    assert server.requests[0]["User-Agent"].startswith("bcm-restore/")
    assert any("no SHA-256 is published" in note for note in notes)
    description, stored = weights.read(path)
    assert description["model"]["diagonal"] is False
    assert all(torch.equal(stored[name], tensor.half()) for name, tensor in tensors().items())
    networks.build(description["architecture"], description["config"]).load_state_dict(stored)
    record = cache.read("net")
    assert record.source_sha256 == hashlib.sha256(checkpoint()).hexdigest()
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert cache.verify("net") == cache.find("net") == path
    assert download("net", note=notes.append) == path
    assert "already in the cache" in notes[-1]
    assert len(server.requests) == 1


def test_float32_on_demand(catalogued):
    stored = load_file(download(catalogued(), precision="fp32"))
    assert all(torch.equal(stored[name], tensor) for name, tensor in tensors().items())


@pytest.mark.parametrize("tag", ['"1"', None])
def test_a_broken_connection_is_resumed(server, catalogued, tag):
    server.tag, server.breaks = tag, [1000, 2000, 1]
    assert download(catalogued()).is_file()
    assert [request.get("Range") for request in server.requests] == [None, *(f"bytes={n}-" for n in (1000, 3000, 3001))]
    assert server.requests[1].get("If-Range") == tag


def test_the_next_call_resumes(home, server, catalogued):
    name = catalogued()
    server.breaks = [1000, 0, 0, 0, 0]
    line = error_of(home, keeps=["net.part", "net.resume"])
    assert "run it again to resume" in line
    assert (home / "net.part").read_bytes() == server.data[:1000]
    server.breaks.clear()
    assert download(name).is_file()
    assert server.requests[-1]["Range"] == "bytes=1000-"
    assert left(home) == ["net.json", "net.safetensors"]


def test_a_file_that_changed_on_the_server_is_downloaded_from_scratch(home, server, catalogued):
    name = catalogued()
    server.breaks = [1000, 0, 0, 0, 0]
    error_of(home, keeps=["net.part", "net.resume"])
    server.breaks, server.tag = [], '"2"'
    server.data = archive(**{CHECKPOINT: checkpoint(), "z.txt": b"more"})
    assert download(name).is_file()


def test_a_server_without_ranges_and_lengths(home, server, catalogued):
    name = catalogued()
    server.ranges, server.breaks = False, [1000]
    assert download(name).is_file()
    assert len(server.requests) == 2
    cache.remove(name)
    server.length, server.breaks = False, [1000]  # the end of the file is unknown, but the archive is incomplete
    assert "not a complete .zip archive" in error_of(home)
    assert download(name).is_file()


def test_a_complete_partial_file_needs_no_server(home, server, catalogued, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    name = catalogued()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        line = error_of(home, keeps=["net.part", "net.resume"])
    assert "the disk is full" in line
    assert download(name).is_file()
    assert len(server.requests) == 1


def test_a_full_disk_keeps_the_partial_file(home, server, catalogued, monkeypatch):
    name = catalogued()

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() >= 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(bytes(data)[:1000])

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_writable", lambda part, offset: Full(part, "wb"))
        line = error_of(home, keeps=["net.part", "net.resume"])
    assert "no space left on device; free some space and run it again" in line
    assert download(name).is_file()
    assert server.requests[-1]["Range"] == "bytes=1000-"


def test_a_wrong_hash(home, server, catalogued):
    catalogued(sha256="0" * 64)
    line = error_of(home)
    assert server.url in line and "as in the catalogue" in line


def test_the_first_hash_is_recorded(home, server, catalogued):
    path = download(catalogued())
    path.write_bytes(b"damaged")
    with pytest.raises(RestoreError, match=r"net.safetensors: damaged"):
        cache.verify("net")
    server.data = archive(**{CHECKPOINT: saved({**tensors(), "label_emb.weight": torch.zeros(10, 128)})})
    line = error_of(home, keeps=["net.json", "net.safetensors"])
    assert "not the file of the first download" in line and "weights remove net" in line
    server.data = archive()
    download("net")
    assert cache.verify("net") == path


def test_the_publishers_hash_of_a_metrics_network(home, server, catalogued):
    server.data = b"any bytes"
    name = catalogued(
        "alex",
        kind="metric",
        folder=None,
        file="alex.pth",
        torch_hub=True,
        sha256=hashlib.sha256(b"any bytes").hexdigest(),
    )
    path = download(name)
    assert path == home / "alex.pth"
    shared = home.parent.parent / "torch" / "hub" / "checkpoints" / "alex.pth"
    assert shared.read_bytes() == path.read_bytes() == b"any bytes"
    shared.unlink()
    assert download(name) == path and len(server.requests) == 1
    assert shared.read_bytes() == b"any bytes"
    assert shared in remove(name)
    assert not shared.exists() and left(home) == []


def test_truncated_archives(home, server, catalogued):
    catalogued()
    whole = server.data
    server.data = whole[:-1000]
    assert "not a complete .zip archive" in error_of(home)
    middle = whole.index(b"PK", 4) // 2
    server.data = whole[:middle] + b"\0\1\2\3" * 4 + whole[middle + 16 :]
    assert "not a complete .zip archive" in error_of(home)


@pytest.mark.parametrize("name", ["../ema.pt", "/etc/ema.pt", "x/../../ema.pt", "..\\ema.pt", "C:\\ema.pt"])
def test_archives_with_paths_outside_the_target(home, server, catalogued, name):
    catalogued()
    server.data = archive(**{CHECKPOINT: checkpoint(), name: b"x"})
    assert "leads out of the archive" in error_of(home)
    assert not list(home.parent.parent.rglob("ema.pt"))


def test_only_the_wanted_file_is_extracted(tmp_path):
    packed, target = tmp_path / "packed.zip", tmp_path / "target"
    packed.write_bytes(archive(**{"a/ema_1.pt": b"this one", "a/ema_2.pt": b"not this", "optimizer.pt": b"large"}))
    assert archives.extract(packed, "ema_1.pt", target) == target / "ema_1.pt"
    assert [(path.name, path.read_bytes()) for path in target.iterdir()] == [("ema_1.pt", b"this one")]


def test_ambiguous_archives_need_a_file(home, server, catalogued):
    name = catalogued()
    server.data = archive(**{"a/ema_1.pt": b"no", "a/ema_2.pt": checkpoint()})
    line = error_of(home, keeps=["net.part", "net.resume"])
    assert "out of: ema_1.pt, ema_2.pt" in line and "--file" in line
    assert download(name, file="ema_2.pt").is_file()
    assert len(server.requests) == 1
    assert cache.read(name).source_file == "ema_2.pt"


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [saved, pickle.dumps])
def test_code_in_a_checkpoint_is_not_run(home, server, catalogued, tmp_path, write):
    catalogued()
    server.data = archive(**{CHECKPOINT: write({"weight": Code(tmp_path / "harmed")})})
    line = error_of(home)
    assert server.url in line and "not loaded" in line
    assert not (tmp_path / "harmed").exists()


def test_invalid_checkpoints(home, server, catalogued):
    catalogued()
    for data, reason in (
        (b"", "not a checkpoint"),
        (checkpoint()[:-500], "not a checkpoint"),
        (saved([1, 2]), "does not contain a network's tensors"),
        (saved({"weight": torch.ones(2)}), "not a known network"),
        (saved({**tensors(), "more": torch.ones(2)}), "'more' belongs to another network"),
        (saved({**tensors(), "label_emb.weight": torch.full((10, 128), 1e6)}), "--precision fp32"),
    ):
        server.data = archive(**{CHECKPOINT: data})
        assert reason in error_of(home)


def test_responses_that_are_not_a_file(home, server, catalogued):
    catalogued()
    server.kind, server.data = "text/html; charset=utf-8", b"<html>log in</html>"
    assert "a web page instead of the file" in error_of(home)
    server.kind = "application/octet-stream"
    assert ": a web page" in error_of(home)
    server.status = 202
    assert "answered 202" in error_of(home)
    server.status = 404
    assert "answered 404" in error_of(home)
    server.status = 503
    requests = len(server.requests)
    assert "answered 503" in error_of(home)
    assert len(server.requests) - requests == 3


def test_an_unreachable_server(home, server, catalogued):
    catalogued(url="http://127.0.0.1:9/x")
    line = error_of(home)
    assert "refused" in line and "weights import" in line


def test_https_stays_https():
    request = transfer.urllib.request.Request("https://example.org/a")
    with pytest.raises(RestoreError, match="which is not https"):
        transfer._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/b")


def test_two_threads_at_once(home, catalogued, server):
    name = catalogued()
    notes, results = [], []
    with cache.locked(name, None):
        with pytest.raises(RestoreError, match="another process is downloading 'net'"):
            cache.remove(name)
        thread = threading.Thread(target=lambda: results.append(download(name, note=notes.append)))
        thread.start()
        while not notes:
            thread.join(0.01)
        assert "another process is downloading 'net'; waiting" in notes[0]
        assert server.requests == []
    thread.join(30)
    assert results == [home / "net.safetensors"]


@pytest.mark.slow
def test_two_processes_at_once(home, server):
    server.data = archive()
    code = (
        "import json, sys\n"
        "from bcm_restore.weights import catalogue, download\n"
        "entry = catalogue.Entry(name='net', **json.loads(sys.argv[1]))\n"
        "catalogue.entries = lambda: {'net': entry}\n"
        "print(download.download('net', note=lambda line: print(line, flush=True)))"
    )
    table = json.dumps({"kind": "model", "folder": "net_64", "url": server.url, **TEXT})
    command, pipes = [sys.executable, "-c", code, table], {"stdout": subprocess.PIPE, "text": True}
    with cache.locked("net", None):
        both = [subprocess.Popen(command, env=dict(os.environ), **pipes) for _ in range(2)]
        for process in both:
            assert process.stdout.readline() == "another process is downloading 'net'; waiting for it\n"
    answers = [process.communicate(timeout=DEADLINE)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [lines[-1] for lines in answers] == [str(home / "net.safetensors")] * 2
    assert sum("already in the cache" in line for lines in answers for line in lines) == 1
    assert len(server.requests) == 1
    assert [path.name for path in sorted(home.iterdir())] == [".cache.lock", "net.json", "net.safetensors"]
    assert cache.verify("net") == home / "net.safetensors"


def test_a_consistency_model_instead_of_a_bidirectional_one(home, server, catalogued):
    catalogued()
    server.data = archive(**{CHECKPOINT: saved(consistency_model())})
    line = error_of(home)
    assert line.startswith(f"{server.url}: a consistency model") and str(home) not in line


def test_a_consistency_model_is_a_start(home, server, catalogued):
    notes = []
    server.data = archive(**{CHECKPOINT: saved(consistency_model())})
    path = download(catalogued("ict", kind="start"), note=notes.append)
    assert path == home / "ict.pt"
    assert any(f'start = "{path}"' in note for note in notes)
    assert convert.is_consistency_model(torch.load(path, weights_only=True))
    server.data = archive()
    catalogued("not-ict", kind="start")
    with pytest.raises(RestoreError, match="not a consistency model's checkpoint"):
        download("not-ict")
