"""Reading ahead and writing behind: the network does not wait for the disk, and processes similar pictures together."""

import contextlib
import ctypes
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import count, islice
from threading import Condition
from typing import TypeVar

from ..spans import LARGE

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Made = TypeVar("Made")

DEPTH = 2
BUDGET = 64_000_000  # pixels of all large pictures in memory: five of 12 megapixels overlap, one of 100 is alone

Enter = Callable[[int], None]


class PixelBudget:
    """Limits the large pictures in memory, from being read until they are written, in the order of the items."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._turn = 0
        self._held: dict[int, int] = {}
        self._closed = False

    def enter(self, number: int, pixels: int) -> None:
        """Waits for the earlier items, then until its pixels fit; small items always fit. Later calls return."""

        def fits() -> bool:
            return pixels <= LARGE or not self._held or sum(self._held.values()) + pixels <= BUDGET

        with self._changed:
            if self._turn > number:
                return
            self._changed.wait_for(lambda: self._closed or (self._turn == number and fits()))
            if self._closed:
                raise CancelledError
            if pixels > LARGE:
                self._held[number] = pixels
            self._turn += 1
            self._changed.notify_all()

    def holds(self, number: int) -> bool:
        """Whether an item is large."""
        with self._changed:
            return number in self._held

    def leave(self, number: int) -> None:
        """The item is no longer in memory."""
        if self.holds(number):
            _give_back()
        with self._changed:
            self._held.pop(number, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def run(
    items: Iterable[Item],
    read: Callable[[Item, Enter], Loaded],
    work: Callable[[Sequence[Item], Sequence[Loaded]], Sequence[Made | Exception]],
    write: Callable[[Item, Made], None],
    report: Callable[[Item, Exception | None], None],
    alike: Callable[[Loaded], tuple[Hashable, int]] = lambda loaded: (None, 1),
    depth: int = DEPTH,
) -> Generator[Item, None, None]:
    """Takes every item through three steps that overlap: reading and writing in threads, the work in this one.

    Processed items are written and reported even if the run is interrupted, or its iterator closed.

    Args:
        items: the order of work and of reports.
        read: loads an item; calls its second argument with the pixels that it is about to hold, which waits while large
            ones are in memory.
        work: processes consecutive items; gives the result of each, or its error.
        write: writes the result.
        report: called, in this thread, with each finished item and the error of a step, if any. Its exceptions end the
            run.
        alike: a key, equal for items that may be processed together, and the most of them.
        depth: number of items that are read ahead (more, if more are processed together), and of items that are being
            written: the others are not in memory.

    Yields:
        Each item that has been reported, unless the run is being interrupted.
    """
    coming: deque[tuple[int, Item, Future[Loaded]]] = deque()
    going: deque[tuple[Item, Future[None]]] = deque()
    remaining, budget = zip(count(), items), PixelBudget()

    def read_in_turn(number: int, item: Item) -> Loaded:
        try:
            loaded = read(item, lambda pixels: budget.enter(number, pixels))
            if budget.holds(number):
                _give_back()
            return loaded
        except BaseException:
            budget.leave(number)
            raise
        finally:
            budget.enter(number, 0)  # the next ones wait for it, also if nothing was read

    def write_and_leave(number: int, item: Item, made: list[Made]) -> None:
        try:
            write(item, made.pop())  # without another reference to it
        finally:
            budget.leave(number)

    with ThreadPoolExecutor(depth) as readers, ThreadPoolExecutor(depth) as writers:

        def read_ahead(count: int) -> None:
            for number, item in islice(remaining, max(count - len(coming), 0)):
                coming.append((number, item, readers.submit(read_in_turn, number, item)))

        def kind(number: int, loaded: Future[Loaded]) -> tuple[Hashable, int]:
            """The result of `alike`; unread and large items are alone, as others may wait for them."""
            alone = loaded.exception() or budget.holds(number)
            return (number, 1) if alone else alike(loaded.result())

        def next_group() -> list[tuple[int, Item, Future[Loaded]]]:
            number, _, loaded = coming[0]
            group = [coming.popleft()]
            own = kind(number, loaded)
            read_ahead(max(depth, own[1] - 1))
            while coming and len(group) < own[1] and kind(coming[0][0], coming[0][2]) == own:
                group.append(coming.popleft())
            read_ahead(depth)
            return group

        def work_on(group: list[tuple[int, Item, Future[Loaded]]]) -> Sequence[Made | Exception]:
            try:
                return work([item for _, item, _ in group], [loaded.result() for _, _, loaded in group])
            except Exception as error:
                return [error] * len(group)

        def pass_on(number: int, item: Item, made: Made | Exception) -> Future[None]:
            if not isinstance(made, Exception):
                return writers.submit(write_and_leave, number, item, [made])
            budget.leave(number)
            return _failed(made)

        def report_first() -> Item:
            item, written = going.popleft()
            report(item, written.exception())  # type: ignore[arg-type]  # threads are not interrupted
            return item

        try:
            read_ahead(depth)
            while coming:
                group = next_group()
                for (number, item, _), made in zip(group, work_on(group), strict=True):
                    going.append((item, pass_on(number, item, made)))
                del group, made  # frees the pictures
                while len(going) > depth or (going and going[0][1].done()):
                    yield report_first()
            while going:
                yield report_first()
        finally:
            budget.close()
            while going:
                report_first()


def _give_back() -> None:
    """Returns free memory to the system: the C library keeps about 14 bytes per pixel that threads have freed."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only in glibc
        ctypes.CDLL(None).malloc_trim(0)


def _failed(error: Exception) -> Future[None]:
    failed: Future[None] = Future()
    failed.set_exception(error)
    return failed
