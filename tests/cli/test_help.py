"""Help, versions, completion, threads and progress."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.runs import ENVIRONMENT, python

import bcm_restore
from bcm_restore import tasks
from bcm_restore.cli import startup

HEAVY = ("asyncio", "http", "torch", "cv2", "numpy", "PIL", "bcm_restore.tasks", "bcm_restore.images")

COMMANDS = [
    "inpaint",
    "jpeg-restore",
    "super-resolve",
    "denoise",
    "restore",
    "colorize",
    "interpolate",
    "generate",
    "reconstruct",
    "train",
    "tune",
    "weights download",
    "tasks",
]


@pytest.mark.parametrize("command", [[], *(name.split() for name in COMMANDS)])
def test_help_imports_nothing_heavy(command):
    code = (
        "import sys\nfrom bcm_restore.cli import main\n"
        f"sys.argv = ['bcm-restore', *{command!r}, '--help']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = python("-c", code)
    assert result.stdout.splitlines()[-1] == "heavy: []", result.stdout + result.stderr
    assert "Usage:" in result.stdout
    assert not command or f"Example: bcm-restore {' '.join(command)}" in result.stdout


@pytest.mark.parametrize("command", [[], ["bench"], ["weights"], *(name.split() for name in COMMANDS)])
def test_help_shows_no_types(cli, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "200")
    text = cli(*command, "--help").stdout
    assert "bool" not in text
    assert not re.search(r"<(list|str|int|float|path)\b", text)


def test_order_of_the_options_in_the_help(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = cli("inpaint", "--help").stdout
    named = re.findall(r"^│ \*? *(--[\w-]+)", text, re.MULTILINE)
    assert named[:6] == ["--mask", "--invert-mask", "--mask-threshold", "--grow", "--fit-mask", "--output"]
    assert set(named[6:14]) >= {"--overwrite", "--nfe", "--model", "--format", "--quality", "--compare", "--recursive"}
    assert named[-3:] == ["--join", "--engine", "--address"]
    panels = re.findall(r"^╭─ (\w+)", text, re.MULTILINE)
    assert panels == ["Arguments", "Options", "Output", "Model", "Input", "Cluster"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bcm-restore inp", {"inpaint"}),
        ("bcm-restore super-resolve --sca", {"--scale"}),
        ("bcm-restore we", {"web", "weights"}),
    ],
)
def test_shell_completion(words, offered):
    environment = {"_BCM_RESTORE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv[0] = 'bcm-restore'; from bcm_restore.cli import main; main()"
    result = python("-c", code, env={**ENVIRONMENT, **environment})
    assert set(result.stdout.split()) == offered, result.stderr


def test_module_and_version():
    result = python("-m", "bcm_restore", "--version")
    assert (result.returncode, result.stdout) == (0, f"bcm-restore {bcm_restore.__version__}\n")


@pytest.mark.parametrize("name", ["THP_MEM_ALLOC_ENABLE", "OMP_WAIT_POLICY"])
@pytest.mark.parametrize("given", [None, "0"])
def test_the_environment_is_set_before_torch_unless_it_says_otherwise(name, given):
    code = (
        "import os, sys\nfrom bcm_restore.cli import main\nsys.argv = ['bcm-restore', '--version']\n"
        f"try: main()\nexcept SystemExit: print('torch' in sys.modules, os.environ[{name!r}])"
    )
    plain = {key: value for key, value in ENVIRONMENT.items() if key != name}
    result = python("-c", code, env={**plain, **({name: given} if given else {})})
    assert result.stdout.splitlines()[-1] == f"False {given or startup.ENVIRONMENT[name]}"


@pytest.mark.slow
def test_threads_are_those_of_the_command_and_of_what_it_starts():
    code = (
        "import os\n"
        "from bcm_restore.cli.startup import limit_threads; limit_threads(1); import torch, cv2\n"
        "print(torch.get_num_threads(), cv2.getNumThreads(), os.environ['OMP_NUM_THREADS'])\n"
        "limit_threads(2); limit_threads(None); print(torch.get_num_threads(), cv2.getNumThreads())"
    )
    assert python("-c", code).stdout.splitlines() == ["1 1 1", "2 2"]


def test_threads_change_nothing(cli, tmp_path, photo, monkeypatch):
    for name in startup.THREADS:
        monkeypatch.setenv(name, "1")  # put back afterwards
    try:
        for threads in (1, 2):
            out = tmp_path / f"{threads}.png"
            cli("super-resolve", photo, "--scale", "2", "--nfe", "1", "-o", out, "--threads", threads)
            assert torch.get_num_threads() == threads
    finally:
        startup.set_threads(1)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_no_command_is_help(cli):
    assert "super-resolve" in cli().output


@pytest.mark.slow
def test_progress_on_a_terminal_only(tmp_path, save, face):
    for name in ("a.png", "b.png"):
        save(f"album/{name}", face)
    terminal, stderr = pty.openpty()
    run = [sys.executable, "-m", "bcm_restore", "super-resolve", "album", "--nfe", "1"]
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    result = subprocess.run(run, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=stderr, check=True)
    os.close(stderr)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    assert b"2/2 files" in shown
    assert b"MP/s" in shown
    assert not re.search(rb"\x1b\[[39]\d", shown)  # colours
    assert len(result.stdout.splitlines()) == 2
    assert b"\x1b" not in result.stdout


def test_tasks_and_info(cli):
    listing = cli("tasks").stdout
    for name in tasks.names():
        assert f"{name}: {tasks.get(name).summary}" in listing
    scheme = next(iter(next(iter(tasks.get("super-resolve").schemes().values())).values()))[4]
    assert f"NFE 4: {scheme}" in listing
    assert list(json.loads(cli("tasks", "inpaint", "--json").stdout)) == ["inpaint"]
    facts = json.loads(cli("info", "--json").stdout)
    assert facts["bcm-restore"] == bcm_restore.__version__
    assert any(Path(path).is_file() for path in facts["models"].values())
    assert "devices:" in cli("info").stdout
