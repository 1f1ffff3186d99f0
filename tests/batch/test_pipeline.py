"""Reading ahead and writing behind: in order, bounded, and large pictures a few at a time."""

import platform
import resource
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.batch import pipeline


def run(*arguments, **options) -> list:
    return list(pipeline.run(*arguments, **options))


def test_the_pipeline_is_bounded_and_keeps_the_order():
    held: set[int] = set()
    most, reports = [0], []

    def read(n: int, enter: pipeline.Enter) -> int:
        held.add(n)
        most[0] = max(most[0], len(held))
        if n == 7:
            raise ValueError("7")
        return n

    def write(n: int, made: int) -> None:
        assert made == 10 * n
        held.discard(n)
        if n == 9:
            raise KeyError("9")

    def report(n: int, error: Exception | None) -> None:
        held.discard(n)
        reports.append((n, type(error)))

    run(range(50), read, lambda group, loaded: [10 * n for n in loaded], write, report, depth=2)
    assert reports == [(n, {7: ValueError, 9: KeyError}.get(n, type(None))) for n in range(50)]
    assert most[0] <= 6


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 5, 30, 40, 100]), st.sampled_from(["", "", "early", "read", "work", "write"])),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_large_pictures_wait_for_each_other(items, most):
    """Whatever the order, and whatever goes wrong with one of them; small ones do not wait."""
    held: dict[int, int] = {}
    lock, reports = threading.Lock(), []

    def read(n: int, enter: pipeline.Enter) -> int:
        pixels, failing = items[n]
        if failing == "early":
            raise ValueError(n)
        enter(pixels)
        with lock:
            held.update({n: pixels} if pixels > 8 else {})
            assert sum(held.values()) <= 64 or len(held) == 1
        if failing == "read":
            held.pop(n, None)
            raise ValueError(n)
        return n

    def work(group: Sequence[int], loaded: Sequence[int]) -> Sequence[int | Exception]:
        for n in group:
            if items[n][1] == "work":
                held.pop(n, None)
        return [ValueError(n) if items[n][1] == "work" else n for n in group]

    def write(n: int, made: int) -> None:
        held.pop(n, None)
        if items[n][1] == "write":
            raise ValueError(n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "LARGE", 8)
        patch.setattr(pipeline, "BUDGET", 64)
        run(
            range(len(items)),
            read,
            work,
            write,
            lambda n, error: reports.append((n, type(error))),
            lambda loaded: (None, most),
        )
    assert reports == [(n, ValueError if failing else type(None)) for n, (_, failing) in enumerate(items)]


def test_an_interrupted_run_does_not_wait_for_memory(monkeypatch):
    monkeypatch.setattr(pipeline, "LARGE", 0)
    monkeypatch.setattr(pipeline, "BUDGET", 1)

    def read(n: int, enter: pipeline.Enter) -> int:
        enter(10)
        return n

    def interrupted(group: Sequence[int], loaded: Sequence[int]) -> Sequence[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(range(9), read, interrupted, lambda n, made: None, lambda n, error: None)


@pytest.mark.parametrize(
    ("command", "expected"), [(("jpeg-restore",), 24 * 16), (("super-resolve", "--scale", "2"), 4 * 24 * 16)]
)
def test_the_pixels_of_results_count(cli, save, face, command, expected, tmp_path, monkeypatch):
    entered, enter = {}, pipeline.PixelBudget.enter

    def noted(budget, number, pixels):
        entered.setdefault(number, pixels)  # an item may enter repeatedly
        enter(budget, number, pixels)

    monkeypatch.setattr(pipeline.PixelBudget, "enter", noted)
    source = save("a.jpg", face[:24, :16])
    (broken := tmp_path / "broken.jpg").write_bytes(b"no picture")
    cli(*command, source, broken, "--nfe", "1", "-o", tmp_path / "out", status=1)
    assert entered == {0: expected, 1: 0}


def test_processed_items_are_written_after_an_interruption():
    written, reports = [], []

    def work(group: Sequence[int], loaded: Sequence[int]) -> Sequence[int]:
        if group == [4]:
            raise KeyboardInterrupt
        return group

    with pytest.raises(KeyboardInterrupt):
        run(range(9), lambda n, _: n, work, lambda n, made: written.append(n), lambda n, error: reports.append(n))
    assert sorted(written) == reports == [0, 1, 2, 3]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others give memory back by themselves, or not at all")
def test_the_memory_of_large_pictures_goes_back_to_the_system(monkeypatch):
    monkeypatch.setattr(pipeline, "LARGE", 0)
    sizes, last = [], []

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def read(n: int, enter: pipeline.Enter) -> list[np.ndarray]:
        enter(10)
        sizes.append(resident())
        return [np.ones(1 << 13) for _ in range(6000)]

    def write(n: int, made: list[np.ndarray]) -> None:
        sizes.append(resident())
        last.append(made.pop())  # the address after the others
        made.clear()

    run(range(1), read, lambda group, loaded: loaded, write, lambda n, error: None)
    before, held = sizes
    assert held - before > 100e6
    assert resident() - before < 30e6
