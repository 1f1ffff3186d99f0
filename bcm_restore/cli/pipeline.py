"""Reading ahead and writing behind: the network does not wait for the disk, and works on what is alike at once."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
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
    work: Callable[[Sequence[Item], Sequence[Loaded]], Sequence[Made | Exception]],
    write: Callable[[Item, Made], None],
    report: Callable[[Item, Exception | None], None],
    alike: Callable[[Loaded], tuple[Hashable, int]] = lambda loaded: (None, 1),
    depth: int = DEPTH,
) -> None:
    """Takes every item through three steps that overlap: reading and writing in threads, the work in this one.

    What was worked on is written even if the run is interrupted.

    Args:
        items: the order of work and of reports.
        read: what an item's work needs.
        work: some items that follow each other; what became of each, or what went wrong.
        write: puts the result where it belongs.
        report: told, in this thread, that an item is done, or what went wrong in one of its steps. What it raises ends
            the run.
        alike: equal first values of items that may be worked on together, and how many at most.
        depth: how many items are read ahead, or as many as are worked on together, and as many are being written: more
            are never in memory.
    """
    coming: deque[tuple[Item, Future[Loaded]]] = deque()
    going: deque[tuple[Item, Future[None]]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(depth) as readers, ThreadPoolExecutor(depth) as writers:

        def read_ahead(count: int) -> None:
            missing = max(count - len(coming), 0)
            coming.extend((item, readers.submit(read, item)) for item in islice(remaining, missing))

        def next_group() -> list[tuple[Item, Future[Loaded]]]:
            group = [coming.popleft()]
            kind, most = _kind(group[0][1], alike)
            read_ahead(max(depth, most - 1))
            while coming and len(group) < most and _kind(coming[0][1], alike) == (kind, most):
                group.append(coming.popleft())
            read_ahead(depth)
            return group

        def work_on(group: list[tuple[Item, Future[Loaded]]]) -> Sequence[Made | Exception]:
            try:
                return work([item for item, _ in group], [loaded.result() for _, loaded in group])
            except Exception as error:
                return [error] * len(group)

        def report_first() -> None:
            item, written = going.popleft()
            report(item, written.exception())  # type: ignore[arg-type]  # threads are not interrupted

        read_ahead(depth)
        try:
            while coming:
                group = next_group()
                for (item, _), made in zip(group, work_on(group), strict=True):
                    going.append(
                        (item, _failed(made) if isinstance(made, Exception) else writers.submit(write, item, made))
                    )
                del group, made  # and the pictures with them
                while len(going) > depth or (going and going[0][1].done()):
                    report_first()
        finally:
            while going:
                report_first()


def _kind(loaded: Future[Loaded], alike: Callable[[Loaded], tuple[Hashable, int]]) -> tuple[Hashable, int]:
    """What `alike` says of an item; one that could not be read is alone."""
    return (loaded, 1) if loaded.exception() else alike(loaded.result())


def _failed(error: Exception) -> Future[None]:
    failed: Future[None] = Future()
    failed.set_exception(error)
    return failed
