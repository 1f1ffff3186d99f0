"""How much memory a piece of work takes at its peak."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


class Peak:
    """What `peak` found: bytes, None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak(device: torch.device) -> Iterator[Peak]:
    """Watches the block: the memory of the GPU if that is the device, else of the whole process, which Linux tells."""
    found = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found.bytes = torch.cuda.max_memory_allocated(device)
        return
    started = _forget_peak()
    yield found
    found.bytes = _peak() if started else None


def _forget_peak() -> bool:
    """Sets the process's peak to what it takes now; False where that can't be done."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int | None:
    match = re.search(r"^VmHWM:\s*(\d+) kB", (PROCESS / "status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else None
