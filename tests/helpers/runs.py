"""Processes, what they leave, and the lines of their errors."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
DEADLINE = 300  # seconds


def python(*arguments, env=ENVIRONMENT, **options):
    """Runs Python in another process."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, env=env, **options)


def line_of(refused):
    """The message of an error that pytest caught, which must be one line."""
    line = str(refused.value)
    assert "\n" not in line
    return line


def contents(folder: Path) -> dict[str, str]:
    """Hash of each file below a folder, hidden ones included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def wait_for_outputs(process: subprocess.Popen, folder: Path, count: int) -> None:
    """Waits until a process that restores folder/album has written so many outputs, or has ended.

    A busy machine may take minutes to start a cluster; a process that has not got there by the deadline is killed.
    """
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None and len(list(folder.glob("album_*/*.png"))) < count:
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"fewer than {count} outputs in {DEADLINE} seconds")
        time.sleep(0.01)


def stopped(
    folder: Path, arguments: Sequence[str], number: int, count: int, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Restores folder/album by a process that is sent a signal after a number of outputs; its status and stderr."""
    command = [sys.executable, "-m", "bcm_restore", *arguments]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=env, **pipes) as process:
        wait_for_outputs(process, folder, count)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=DEADLINE)
    return process.returncode, stderr


def die(*arguments: object) -> None:
    """Ends the process like a crash; in a module, so that spawned processes can import it."""
    os._exit(3)
