"""Reports of a run, as it proceeds."""

from collections.abc import Sequence

from .outcomes import Header, Outcome


class Observer:
    """Receives the reports of a run, in the thread that runs it. Subclasses override what they need.

    An exception raised here ends the run.
    """

    def connected(self) -> None:
        """The cluster is connected, and Ray has set its own handler of SIGTERM."""

    def begin(self, header: Header, outcomes: Sequence[Outcome]) -> None:
        """All is checked, and the work begins.

        Args:
            header: task, model, device and seed.
            outcomes: of each picture, in order; entries are replaced as they become known.
        """

    def progress(self, unit: str, done: int, total: int) -> None:
        """How far the current picture is: `unit` is "NFE", or "tile" in a large picture."""

    def note(self, text: str) -> None:
        """A line about the run."""

    def done(self, outcome: Outcome, error: Exception | None) -> None:
        """The outcome of a picture, and its error, with its traceback (see `errors.traced`)."""


class Evaluations:
    """Called by tasks with (done, total) after each evaluation, or each tile of a large picture.

    Args:
        observer: receives the progress.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __call__(self, done: int, total: int) -> None:
        """An evaluation is done."""
        self._observer.progress("NFE", done, total)

    def tile(self, done: int, total: int) -> None:
        """A tile is done."""
        self._observer.progress("tile", done, total)
