"""Restorations for the page: one at a time, with progress, and cancelled at once."""

import contextlib
import html
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..batch import Observer, Outcome, restore
from ..batch.outcomes import Header, Status
from ..errors import RestoreError, describe

Progress = Callable[[float, str], None]  # called with a share and what is done

ALONE = threading.Lock()  # restorations share the processor and the model: one at a time
PRESETS = {"Fast": 1, "Balanced": 4, "Best": 8}  # network evaluations


class Cancelled(BaseException):
    """The user has cancelled the restoration. Like Ctrl-C it passes through all handlers of errors."""


class Reporter(Observer):
    """Shows the progress on the page, and keeps the messages.

    Args:
        progress: of the page.
        stop: cancels the restoration when it is set.
        pixels: of each picture.

    Attributes:
        notes: about the run.
    """

    def __init__(self, progress: Progress, stop: threading.Event, pixels: Sequence[int]) -> None:
        self._progress, self._stop, self._pixels, self._done = progress, stop, pixels, 0
        self.notes: list[str] = []

    def waiting(self) -> None:
        """The model is loaded."""
        self._check()
        self._progress(0.0, "loading the model")

    def begin(self, header: Header, outcomes: Sequence[Outcome]) -> None:
        """See `Observer`."""
        self._show(0.0)

    def progress(self, unit: str, done: int, total: int) -> None:
        """See `Observer`."""
        self._check()
        self._show(done / max(total, 1))

    def note(self, text: str) -> None:
        """See `Observer`."""
        self.notes.append(text)

    def done(self, outcome: Outcome, error: Exception | None) -> None:
        """See `Observer`."""
        self._done += 1
        self._check()
        self._show(0.0)

    def _show(self, share: float) -> None:
        """Shows how many megapixels are done, with that share of the current picture."""
        current = self._pixels[self._done] if self._done < len(self._pixels) else 0
        done, total = sum(self._pixels[: self._done]) + share * current, sum(self._pixels)
        self._progress(done / max(total, 1), f"{done / 1e6:.1f} of {total / 1e6:.1f} megapixels")

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled


def restored(task: str, files: Sequence[Path], output: Path, reporter: Reporter, **options: Any) -> list[Outcome]:
    """Restores files as the command does, when no other restoration is running.

    Args:
        task, output, **options: see `batch.restore`.
        files: the pictures.
        reporter: receives the progress.

    Raises:
        Cancelled: the user has cancelled it.
        RestoreError: an option does not fit.
    """
    from ..tasks import get

    with ALONE:
        reporter.waiting()
        if options.get("scheme") or not get(task).has_nfe(options["nfe"]):
            options["nfe"] = None
        return list(restore(task, list(files), output=output, observer=reporter, **options))


@contextlib.contextmanager
def results(folder: Path) -> Iterator[Path]:
    """An empty folder in `folder`; it is deleted if the block fails or is cancelled."""
    made = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def declared_pixels(path: Path) -> int:
    """The pixels that a file declares; 0 if it does not."""
    from ..images import declared_pixels

    return declared_pixels(path.read_bytes())


def require_one(outcome: Outcome) -> Outcome:
    """The outcome, unless it is a failure.

    Raises:
        RestoreError: the picture was not restored; with the command's message.
    """
    if outcome.status is Status.FAILED:
        raise RestoreError(outcome.error or "failed")
    return outcome


def lines(outcomes: Sequence[Outcome], notes: Sequence[str] = ()) -> list[str]:
    """What happened to each picture, a line each."""
    return [_line(outcome) for outcome in outcomes] + list(notes)


def _line(outcome: Outcome) -> str:
    if outcome.error:
        return outcome.error
    name = outcome.input if isinstance(outcome.input, str) else " and ".join(outcome.input)
    parts = [f"{outcome.status}"]
    if outcome.status is Status.RESTORED and outcome.size:
        parts.append(f"{outcome.size[0]}x{outcome.size[1]}, NFE {outcome.nfe}, {outcome.seconds:.1f} s")
    return f"{name}: {', '.join(parts)}{f'; {outcome.remark}' if outcome.remark else ''}"


def as_html(texts: Sequence[str], failed: bool = False) -> str:
    """Lines for the page; `failed` if they report an error."""
    return f'<div role="status" class="{"failed" if failed else "done"}">{html.escape(chr(10).join(texts))}</div>'


def message(error: BaseException) -> str:
    """The command's own line for an error."""
    return (
        "Cancelled."
        if isinstance(error, Cancelled)
        else describe(error).removesuffix("; run again with --debug to see where")
    )


def packed(files: Sequence[Path], folder: Path, name: str) -> Path:
    """One file to download: the only one, or a zip of all."""
    if len(files) == 1:
        return files[0]
    archive = folder / f"{name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as written:  # pictures are compressed already
        for file in files:
            written.write(file, file.name)
    return archive
