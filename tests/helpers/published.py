"""Weights in published formats: a small network's checkpoint, archives, and an unreliable server."""

import functools
import http.server
import io
import re
import threading
import zipfile

import torch

from bcm_restore import networks

CONFIG = {"channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": [], "classes": 10, "size": 64}
CHECKPOINT = "ema_0.9_7.pt"


class Server:
    """Serves `data`: at most `breaks` bytes per answer, with `ranges`, `length` and `kind`; counts `requests`."""

    def __init__(self):
        self.data, self.breaks, self.ranges, self.length = b"", [], True, True
        self.kind, self.status, self.tag, self.requests = "application/zip", 200, '"1"', []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file?folder_path=x"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        self.requests.append(dict(request.headers))
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        same = request.headers.get("If-Range", self.tag) == self.tag
        start = int(asked[1]) if asked and self.ranges and same else 0
        if start and start >= len(self.data):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.data)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.data[start:]
        request.send_response(206 if start else self.status)
        request.send_header("Content-Type", self.kind)
        if self.tag:
            request.send_header("ETag", self.tag)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        if self.length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)


@functools.cache
def tensors():
    torch.manual_seed(0)
    return {name: torch.randn_like(tensor) for name, tensor in networks.build("AdmUNet", CONFIG).state_dict().items()}


@functools.cache
def checkpoint():
    """Bytes of a .pt file in the published format."""
    return saved(tensors())


def saved(what):
    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


def archive(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, data in (files or {CHECKPOINT: checkpoint(), "optimizer.pt": b"large"}).items():
            opened.writestr(name, data)
    return packed.getvalue()


def consistency_model():
    return {name: tensor for name, tensor in tensors().items() if "time_embed_" not in name}


def left(home):
    """The files in the cache, without locks."""
    return sorted(path.name for path in home.iterdir() if path.suffix != ".lock") if home.is_dir() else []
