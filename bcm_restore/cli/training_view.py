"""The display of a training run: a live table on a terminal, a line per minute elsewhere."""

import math
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from . import printing
from .progress import EVERY, clock

if TYPE_CHECKING:
    from ..train.trainer import Status

NAMES = {
    "psnr_15": "PSNR at sigma 15, dB",
    "psnr_25": "PSNR at sigma 25, dB",
    "psnr_50": "PSNR at sigma 50, dB",
    "round_trip": "round trip, MSE",
    "hole": "PSNR in 80 % holes, dB",
}


class View:
    """Loss by term, images per second, time left, and the last, previous and first validation.

    Args:
        quiet: show nothing.
        first: text that is shown before the first step.
    """

    def __init__(self, quiet: bool, first: str = "no step yet") -> None:
        console = Console(stderr=True)
        self._quiet = quiet
        on_terminal = not quiet and console.is_terminal
        self._live = Live(first, console=console, refresh_per_second=2) if on_terminal else None
        self._first, self._begun = first, threading.Event()
        self._printed = -math.inf  # the first step is always printed
        self._bar = Progress(BarColumn(), TextColumn("{task.percentage:.0f} %  {task.fields[left]} left", markup=False))
        self._task = self._bar.add_task("", total=1.0, left="?")
        self._scores: dict[str, list[float]] = {}

    def __enter__(self) -> "View":
        if self._live:
            self._live.start()
        elif not self._quiet:
            threading.Thread(target=self._wait, daemon=True).start()
        return self

    def _wait(self) -> None:
        """Prints a line per minute until the first step is done."""
        start = time.monotonic()
        while not self._begun.wait(EVERY):
            printing.note(f"{clock(time.monotonic() - start)}: {self._first}")

    def __exit__(self, *exception: object) -> None:
        self._begun.set()
        if self._live:
            self._live.stop()

    def __call__(self, status: "Status") -> None:
        """Shows the status."""
        self._begun.set()
        for name, value in status.scores.items():
            self._scores.setdefault(name, []).append(value)
        if self._live:
            self._live.update(self._draw(status))
        elif not self._quiet and (status.scores or status.seconds - self._printed >= EVERY or status.progress >= 1):
            self._printed = status.seconds
            printing.note(describe(status))

    def _draw(self, status: "Status") -> Group:
        left = status.seconds * (1 / max(status.progress, 1e-6) - 1)
        self._bar.update(self._task, completed=status.progress, left=clock(left))
        table = Table("", "last", "previous", "first", box=None)
        table.add_row("step", str(status.step))
        table.add_row("images per second", f"{status.speed:.0f}")
        for name, value in status.losses.items():
            table.add_row(f"loss, {name}", f"{value:.4f}")
        for name, values in self._scores.items():
            before = f"{values[-2]:.4g}" if len(values) > 1 else ""
            table.add_row(NAMES.get(name, name), f"{values[-1]:.4g}", before, f"{values[0]:.4g}")
        return Group(table, self._bar)


def describe(status: "Status") -> str:
    """The status in one line."""
    parts = [f"{status.progress:.0%}", f"step {status.step}", clock(status.seconds), f"{status.speed:.0f} images/s"]
    parts += [f"{name} {value:.4f}" for name, value in status.losses.items()]
    parts += [f"{name} {value:.4g}" for name, value in status.scores.items()]
    return ", ".join(parts)
