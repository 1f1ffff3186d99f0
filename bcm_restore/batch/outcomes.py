"""The outcome of a picture."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from ..errors import describe

if TYPE_CHECKING:
    from ..tasks import Restoration

Header = dict[str, str | int]  # the facts that all pictures of a run share: task, model, device, seed


class Status(str, Enum):
    """The outcome of a picture or, in a dry run, the planned action.

    Attributes:
        INTERRUPTED: the run ended before it was known.
        RESTORED: restored.
        COPIED: nothing to restore.
        SKIPPED: nothing to restore, and no output.
        KEPT: its output existed.
        LEFT: another run is restoring it.
        FAILED: see the error.
        BEGUN: in manifests: an output of that name is the run's own, whether it exists or not.
        RESTORE: planned: it will be restored.
        REDO: planned: its output will be replaced.
        KEEP: planned: its output is complete.
        REFUSE: planned: its output exists and is not the run's own.
    """

    INTERRUPTED = "interrupted"
    RESTORED = "restored"
    COPIED = "copied"
    SKIPPED = "skipped"
    KEPT = "kept"
    LEFT = "left"
    FAILED = "failed"
    BEGUN = "begun"
    RESTORE = "restore"
    REDO = "redo"
    KEEP = "keep"
    REFUSE = "refuse"

    def __str__(self) -> str:
        return self.value


@dataclasses.dataclass
class Outcome:
    """The outcome of a picture, and how it was restored.

    Attributes:
        input: the picture, or the two pictures of an interpolation.
        output: the file or files that were written; None: none.
        compare: the file with before and after; None: none.
        status: see `Status`.
        scheme: the scheme that was run.
        nfe: number of network evaluations.
        case: the case that selected the default scheme.
        size: width and height of the output.
        mse: mean squared error of a reconstruction.
        seconds: time of reading, restoring and encoding.
        error: why it failed.
        remark: why it was skipped, copied or kept, or a note on its content or on pages that are left out.
        pages: of the input, if it has several.
    """

    input: str | list[str]
    output: str | list[str] | None = None
    compare: str | None = None
    status: Status = Status.INTERRUPTED
    scheme: str | None = None
    nfe: int | None = None
    case: str | None = None
    size: tuple[int, int] | None = None
    mse: float | None = None
    seconds: float = 0.0
    error: str | None = None
    remark: str | None = None
    pages: int | None = None

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.size[0] * self.size[1] if self.size else 0

    @property
    def idle(self) -> bool:
        """Whether the run did no work on it."""
        return self.status in (Status.KEPT, Status.LEFT)

    def fail(self, error: Exception) -> None:
        """Records an error, in a line that names the input."""
        message = describe(error)
        named = isinstance(self.input, list) or self.input in message
        self.status, self.error = Status.FAILED, message if named else f"{self.input}: {message}"

    def skip(self) -> None:
        """Turns a failure into a remark."""
        self.status, self.remark, self.error = Status.SKIPPED, self.error, None

    def describe(self, restoration: "Restoration") -> None:
        """Records how the picture was restored."""
        self.status = Status.RESTORED
        self.scheme, self.nfe, self.case = str(restoration.scheme), restoration.nfe, restoration.case


@contextlib.contextmanager
def timed(*outcomes: Outcome) -> Iterator[None]:
    """Adds the time that the block takes to the outcomes, in equal parts."""
    start = time.perf_counter()
    try:
        yield
    finally:
        part = (time.perf_counter() - start) / len(outcomes)
        for outcome in outcomes:
            outcome.seconds = round(outcome.seconds + part, 3)
