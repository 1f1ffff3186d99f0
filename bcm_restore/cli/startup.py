"""What a command-line process sets up before slow imports."""

import os
import sys
from typing import Any

ENVIRONMENT = {
    # PyTorch reads it at its first allocation; with huge pages, large pictures take two thirds of the time on Linux
    "THP_MEM_ALLOC_ENABLE": "1",
    # waiting threads sleep: spinning, they would occupy the core of the thread they wait for (benchmarks/threads.md)
    "OMP_WAIT_POLICY": "PASSIVE",
}
THREADS = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def prepare() -> None:
    """Reopens closed standard streams, and sets the environment of this process and its children."""
    _open_streams()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def limit_threads(count: int | None) -> None:
    """Limits the CPU threads of this process and its children; None: no limit."""
    if count is None:
        return
    for name in THREADS:
        os.environ[name] = str(count)
    set_threads(count)


def set_threads(count: int) -> None:
    """Sets the threads of libraries that are already loaded and no longer read the environment."""
    modules: dict[str, Any] = sys.modules
    if torch := modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := modules.get("cv2"):
        cv2.setNumThreads(count)


def _open_streams() -> None:
    """Opens /dev/null in place of a closed standard stream: the next open file would get its number and output."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
