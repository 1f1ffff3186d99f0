"""Folders of small pictures: the gain of overlapping work, and memory by number of files: benchmarks/folders.md.

    python benchmarks/folders.py

The pictures are crops of scikit-image's photographs.
"""

import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from PIL import Image
from skimage import data

from bcm_restore.batch import pipeline
from bcm_restore.cli import app

CROP, FILES, REPEATS = 160, 60, 5
TINY, COUNTS = 16, (50, 500, 10_000)

# Runs its arguments and prints the child's peak memory in kilobytes.
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def crops(folder: Path, count: int, side: int, suffix: str) -> None:
    folder.mkdir()
    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    for n in range(count):
        photo = photographs[n % 4]
        top, left = 37 * n % (photo.shape[0] - side), 53 * n % (photo.shape[1] - side)
        Image.fromarray(photo[top : top + side, left : left + side]).save(folder / f"{n:04}{suffix}", quality=30)


def sequential(items, read, work, write, report, alike) -> Iterator:
    for item in items:
        [made] = work([item], [read(item, lambda pixels: None)])
        write(item, made)
        report(item, None)
        yield item


def seconds(*arguments: str) -> float:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app(arguments)
    return time.perf_counter() - start


def speeds(folder: Path) -> list[float]:
    """Files per second, sequential and overlapped: medians of alternating runs."""
    found: list[list[float]] = [[], []]
    ways = (sequential, pipeline.run)
    for repeat in range(REPEATS):
        for way, speed in zip(ways, found, strict=True):
            out = str(folder.parent / f"out_{repeat}_{way.__name__}")
            with mock.patch.object(pipeline, "run", way):
                speed.append(FILES / seconds("jpeg-restore", str(folder), "--nfe", "1", "-o", out))
    return [statistics.median(speed) for speed in found]


def peak_memory(folder: Path) -> int:
    """The peak memory, in MB, of a process that upscales a folder."""
    command = [sys.executable, "-m", "bcm_restore", "super-resolve", "--scale", "2", "--nfe", "1", str(folder)]
    run = subprocess.run([sys.executable, "-c", WATCH, *command], check=True, capture_output=True, text=True)
    return int(run.stdout.split()[-1]) // 1000


def main() -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crops(folder / "crops", FILES, CROP, ".jpg")
        seconds("jpeg-restore", str(folder / "crops"), "--nfe", "1", "-o", str(folder / "warm"))
        single, overlapped = speeds(folder / "crops")
        print(f"{device}\n\n| one after the other, files/s | overlapped, files/s | gain |\n| --- | --- | --- |")
        print(f"| {single:.2f} | {overlapped:.2f} | {overlapped / single:.2f} |", flush=True)
        print("\n| files | peak memory, MB |\n| --- | --- |", flush=True)
        for count in COUNTS:
            crops(folder / f"tiny{count}", count, TINY, ".png")
            print(f"| {count} | {peak_memory(folder / f'tiny{count}')} |", flush=True)


if __name__ == "__main__":
    main()
