"""What a process of the command line sets right before anything heavy is imported."""

import os
import sys
from typing import Any

ENVIRONMENT = {
    # PyTorch looks at its first allocation; with huge pages, large pictures take two thirds of the time on Linux
    "THP_MEM_ALLOC_ENABLE": "1",
    # threads that wait for others sleep: spinning, they take the core of the one they wait for (benchmarks/threads.md)
    "OMP_WAIT_POLICY": "PASSIVE",
}
THREADS = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def prepare() -> None:
    """Streams that can be written to, and the environment of this process and of all that it starts."""
    _open_streams()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def limit_threads(count: int | None) -> None:
    """This process, and those that it starts, calculate with so many threads on the CPU; None: as many as they like."""
    if count is None:
        return
    for name in THREADS:
        os.environ[name] = str(count)
    set_threads(count)


def set_threads(count: int) -> None:
    """The same for libraries that are loaded already, and no longer look at the environment."""
    modules: dict[str, Any] = sys.modules
    if torch := modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := modules.get("cv2"):
        cv2.setNumThreads(count)


def _open_streams() -> None:
    """Puts /dev/null where a standard stream was closed: the next file opened would take its number, and its output."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
