"""The bar that long work shows on a terminal."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """Files done, speed, time left and the evaluations within the current picture; nothing where stderr is no terminal.

    Args:
        files: how many there are.
    """

    def __init__(self, files: int) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.fields[files]} files", markup=False),
            BarColumn(),
            TextColumn("{task.fields[evaluations]}", markup=False),
            TextColumn("{task.fields[speed]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # else results that are piped elsewhere would end up on the terminal
            redirect_stdout=sys.stdout.isatty(),
        )
        self._files, self._done = files, 0
        self._megapixels, self._start = 0.0, time.monotonic()
        self._task: TaskID = self._bar.add_task("", total=files, files=f"0/{files}", evaluations="", speed="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def evaluation(self, done: int, total: int) -> None:
        """Tells of an evaluation: (done, in all) within the current picture."""
        part = done / max(total, 1)
        self._bar.update(self._task, completed=self._done + part, evaluations=f"NFE {done}/{total}")

    def file(self, pixels: int) -> None:
        """Tells that a file is done, and how many pixels were restored."""
        self._done += 1
        self._megapixels += pixels / 1e6
        speed = self._megapixels / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(
            self._task,
            completed=self._done,
            files=f"{self._done}/{self._files}",
            evaluations="",
            speed=f"{speed:.2f} MP/s",
        )
