"""The progress bar of long work on a terminal; a line per minute elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..batch.observer import Evaluations, Observer
from . import printing

EVERY = 60.0  # seconds between lines without a terminal


class Bar(Observer):
    """Files done, speed, time left and the progress within the current picture.

    Args:
        files: number of files.
        unit: name of what is counted.
        quiet: show nothing if stderr is not a terminal.

    Attributes:
        evaluation: called after each evaluation, or tile, of the current picture.
    """

    def __init__(self, files: int, unit: str = "files", quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(f"{{task.fields[files]}} {unit}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[part]}", markup=False),
            TextColumn("{task.fields[speed]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # else piped results would appear on the terminal
            redirect_stdout=sys.stdout.isatty(),
        )
        self.evaluation = Evaluations(self)
        self._files, self._done, self._unit = files, 0, unit
        self._megapixels, self._start = 0.0, time.monotonic()
        self._lines, self._printed = not (console.is_terminal or quiet), self._start
        self._task: TaskID = self._bar.add_task("", total=files, files=f"0/{files}", part="", speed="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def progress(self, unit: str, done: int, total: int) -> None:
        """See `Observer`."""
        self._bar.update(self._task, completed=self._done + done / max(total, 1), part=f"{unit} {done}/{total}")
        self._line(f", {unit} {done}/{total} of the next")

    def file(self, pixels: int) -> None:
        """Records that a file is done, and the number of restored pixels."""
        self._done += 1
        self._megapixels += pixels / 1e6
        speed = self._megapixels / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(
            self._task,
            completed=self._done,
            files=f"{self._done}/{self._files}",
            part="",
            speed=f"{speed:.2f} MP/s",
        )
        self._line("")

    def _line(self, part: str) -> None:
        """Prints a line if there is no terminal and the last line was long ago."""
        now = time.monotonic()
        if self._lines and self._done < self._files and now - self._printed >= EVERY:
            self._printed = now
            printing.note(f"{self._done}/{self._files} {self._unit} done{part}, {clock(now - self._start)}")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
