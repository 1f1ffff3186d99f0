"""A server in its own process, as `bcm-restore web` starts it."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Server:
    """A server that is running.

    Attributes:
        address: of the page.
        password: of the page, or None.
        temporary: the folder of temporary files, which it alone uses.
        process: it.
    """

    address: str
    password: str | None
    temporary: Path
    process: subprocess.Popen

    def files(self) -> list[Path]:
        """The temporary files, except those that PyTorch and others make; folders may vanish meanwhile."""
        folders = itertools.chain.from_iterable(map(os.walk, self.temporary.glob("bcm-restore-web-*")))
        return sorted(Path(folder, name) for folder, _, names in folders for name in names)


@contextlib.contextmanager
def serving(temporary: Path, *options: str) -> Iterator[Server]:
    pytest.importorskip("gradio", reason="needs gradio: the extra web")
    command = [sys.executable, "-m", "bcm_restore", "web", "--port", "0", "--json", "--device", "cpu", *options]
    # its own home: nothing is to be written there
    environment = {**os.environ, "TMPDIR": str(temporary), "HOME": str(temporary)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=temporary, text=True)
    try:
        lines = ""
        while not lines.endswith("}\n"):
            line = process.stdout.readline()
            assert line, "the server has not started"
            lines += line
        found = json.loads(lines)
        # waits until the page is built; with a password it is refused then
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{found['address']}/config", timeout=120).close()
        yield Server(found["address"], found["password"], temporary, process)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    """For pictures of up to 1 megapixel."""
    with serving(tmp_path_factory.mktemp("web"), "--max-pixels", "1") as found:
        yield found


@pytest.fixture
def serve(tmp_path) -> Callable:
    """Starts a server with options."""
    return lambda *options: serving(tmp_path, *options)
