"""Measures peak memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


class Peak:
    """The result of `peak`: bytes, None if the system does not report it."""

    bytes: int | None = None


@contextmanager
def peak(device: torch.device) -> Iterator[Peak]:
    """Measures the peak memory of the block: of the GPU if that is the device, else of the process (Linux only)."""
    found = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found.bytes = torch.cuda.max_memory_allocated(device)
        return
    started = _reset_peak()
    yield found
    found.bytes = _peak() if started else None


def _reset_peak() -> bool:
    """Resets the process's peak to its current memory; False if that is not possible."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int | None:
    match = re.search(r"^VmHWM:\s*(\d+) kB", (PROCESS / "status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else None
