"""`bcm-restore web`: its options and messages; see tests/web for the page."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bcm_restore.cli import web
from bcm_restore.errors import RestoreError
from bcm_restore.task_inputs import Input
from bcm_restore.web import server
from bcm_restore.web.forms import Field, Form


@pytest.fixture
def served(monkeypatch):
    """What the command asks to be served."""
    seen = []

    def serve(address, options, forms, announce):
        seen.append((address, options, forms))
        announce(f"http://{address.host}:{address.port}")

    monkeypatch.setattr(server, "serve", serve)
    return seen


def test_only_this_computer_by_default(cli, served):
    assert cli("web").stdout == "http://127.0.0.1:7860\n"
    [(address, options, _)] = served
    assert (address.host, address.password) == ("127.0.0.1", None)
    assert options.models == ("bcm-photo", "bcm-photo-small")


def test_another_interface_asks_for_a_password(cli, served):
    text = cli("web", "--host", "0.0.0.0", "--port", "9000").stdout
    token = served[0][0].password
    assert len(token) >= 16
    assert text == f"http://0.0.0.0:9000 (any name, password {token})\n"
    cli("web", "--host", "0.0.0.0")
    assert served[1][0].password != token
    cli("web", "--host", "0.0.0.0", "--password", "secret")
    assert served[2][0].password == "secret"


def test_a_port_in_use(cli, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = cli.refuses(tmp_path, "web", "--port", port)
    assert line == f"error: 127.0.0.1:{port}: address already in use; give another --host or --port"


def test_without_the_extra(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    line = cli.refuses(tmp_path, "web", "--port", 0)
    assert line == 'error: bcm-restore web needs the package gradio; pip install ".[web]"'


def test_the_command_line_imports_neither_gradio_nor_torch():
    slow = "{'torch', 'gradio', 'fastapi'}"
    code = f"import sys, bcm_restore.cli.web as web; list(web.forms()); print({slow} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_every_task_that_restores_files_has_a_form():
    forms = {form.task: form for form in web.forms()}
    own = {info.name for info in web.group.registered_commands} - {"inpaint", "interpolate"}
    assert set(forms) >= own >= {"jpeg", "super-resolve"}
    [quality] = forms["jpeg"].fields
    assert (quality.name, quality.kind, quality.default, quality.required) == ("input_quality", int, None, False)
    assert (quality.minimum, quality.maximum) == (1, 100)
    scale, noise = forms["super-resolve"].fields
    assert (scale.choices, scale.default) == ((2, 3, 4, 8), 4)
    assert (noise.kind, noise.default, noise.maximum) == (float, None, 255)
    assert forms["jpeg"].summary == "Remove blocks, ringing and banding from JPEGs of any quality."


def test_inputs_that_a_task_declares(monkeypatch):
    declared = [
        Input("strength", float, "How strong.", default=0.5, minimum=0, maximum=1),
        Input("profile", Path, "A file.", required=True),
    ]
    task = SimpleNamespace(name="defog", summary="clears fog", inputs=declared)
    monkeypatch.setattr(web, "entry_points", lambda group: [SimpleNamespace(name="defog")])
    monkeypatch.setattr("bcm_restore.tasks.get", {"defog": task}.get)
    *_, form = web.forms()
    strength = Field("strength", float, "How strong.", 0.5, False, 0, 1)
    assert form == Form("defog", "defog clears fog.", (strength, Field("profile", Path, "A file.", None, True)))


def test_an_address_that_does_not_exist():
    with pytest.raises(RestoreError, match="give another --host or --port"):
        server.serve(server.Address("no.such.host.invalid", 0), None, [], print)
