"""Reading ahead and writing behind: the network does not wait for the disk."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Made = TypeVar("Made")

DEPTH = 2


def run(
    items: Iterable[Item],
    read: Callable[[Item], Loaded],
    work: Callable[[Item, Loaded], Made],
    write: Callable[[Item, Made], None],
    report: Callable[[Item, Exception | None], None],
    depth: int = DEPTH,
) -> None:
    """Takes every item through three steps that overlap: reading and writing in threads, the work in this one.

    What was worked on is written even if the run is interrupted.

    Args:
        items: the order of work and of reports.
        read: what an item's work needs.
        work: one item at a time.
        write: puts the result where it belongs.
        report: told, in this thread, that an item is done, or what went wrong in one of its steps. What it raises ends
            the run.
        depth: how many items are read ahead, and as many are being written: more are never in memory.
    """
    coming: deque[tuple[Item, Future[Loaded]]] = deque()
    going: deque[tuple[Item, Future[None]]] = deque()
    with ThreadPoolExecutor(depth) as readers, ThreadPoolExecutor(depth) as writers:

        def work_and_write(item: Item, loaded: Future[Loaded]) -> Future[None]:
            try:
                return writers.submit(write, item, work(item, loaded.result()))
            except Exception as error:
                failed: Future[None] = Future()
                failed.set_exception(error)
                return failed

        def report_first() -> None:
            item, written = going.popleft()
            report(item, written.exception())  # type: ignore[arg-type]  # threads are not interrupted

        remaining = iter(items)
        coming.extend((item, readers.submit(read, item)) for item in islice(remaining, depth))
        try:
            while coming:
                item, loaded = coming.popleft()
                coming.extend((later, readers.submit(read, later)) for later in islice(remaining, 1))
                going.append((item, work_and_write(item, loaded)))
                del loaded  # and the picture with it
                while len(going) > depth or (going and going[0][1].done()):
                    report_first()
        finally:
            while going:
                report_first()
