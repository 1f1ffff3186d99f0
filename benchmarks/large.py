"""Time and peak memory of the command line on pictures of 1, 12 and 100 megapixels: the table of benchmarks/large.md.

    python benchmarks/large.py

The picture is scikit-image's astronaut, enlarged, with some grain, so that nothing is flat. Seconds are from the
command's report: reading, restoring, encoding and writing, without start-up and loading the model. Those for 1
megapixel are the median of five pictures before the larger ones and five after them, because the first picture of a run
is slower and the machine's speed varies.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

SIZES = {1: (1000, 1000), 12: (4000, 3000), 100: (12500, 8000)}

# The command, the suffix of its picture's name, and its options; {0} is the size in megapixels.
RUNS = [
    ("inpaint", ".tif", "--mask {0}thin.png --nfe 1"),
    ("inpaint", ".tif", "--mask {0}thin.png --nfe 4"),
    ("jpeg-restore", ".jpg", "--nfe 1"),
    ("super-resolve", "small.png", "--scale 4 --nfe 1"),
]
COPIES = 5

# Runs its arguments and prints the child's peak memory in kilobytes.
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def prepare(folder: Path, megapixels: int) -> None:
    rng, (width, height) = np.random.default_rng(0), SIZES[megapixels]
    pixels = np.asarray(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.BICUBIC)).copy()
    for row in pixels:  # row by row to save memory
        row[:] = (row + rng.normal(0, 4, row.shape)).clip(0, 255)
    picture, name = Image.fromarray(pixels), str(folder / str(megapixels))
    picture.save(f"{name}.tif")
    picture.save(f"{name}.jpg", quality=30)
    picture.crop((0, 0, width // 4, height // 4)).save(f"{name}small.png")
    mask = np.zeros((height, width), np.uint8)
    mask[::40] = mask[1::40] = mask[2::40] = 255
    Image.fromarray(mask).save(f"{name}thin.png")


def run(folder: Path, command: str, end: str, options: str, megapixels: int) -> tuple[list[float], float]:
    """(seconds per megapixel of output for each picture, peak memory in GB)."""
    names = [f"{megapixels}{end}"]
    if megapixels == 1:
        names = [f"copy{n}{end}" for n in range(COPIES)]
        for name in names:
            shutil.copy(folder / f"1{end}", folder / name)
    arguments = [command, *names, *options.format(megapixels).split(), "-o", "out/", "--overwrite", "--json"]
    watch = [sys.executable, "-c", WATCH, sys.executable, "-m", "bcm_restore", *arguments]
    printed = subprocess.run(watch, cwd=folder, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(folder / "out")
    document, _, kilobytes = printed.rstrip().rpartition("\n")
    files = json.loads(document)["files"]
    return [file["seconds"] / (file["size"][0] * file["size"][1] / 1e6) for file in files], int(kilobytes) / 1e6


def compare(folder: Path, command: str, end: str, options: str) -> None:
    """Prints the table rows of a command."""
    measured = [run(folder, command, end, options, megapixels) for megapixels in (*SIZES, 1)]
    small = statistics.median(measured[0][0] + measured[-1][0])
    for megapixels, (seconds, memory) in zip(SIZES, measured, strict=False):
        each = small if megapixels == 1 else seconds[0]
        shown = f"{command} {megapixels}{end} {options.format(megapixels)}"
        print(f"| `{shown}` | {megapixels} | {each:.2f} | {each / small:.2f} | {memory:.2f} |", flush=True)


def main() -> None:
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels in SIZES:
            prepare(folder, megapixels)
        print("| command | megapixels | s/MP | to 1 MP | peak memory, GB |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        for command, end, options in RUNS:
            compare(folder, command, end, options)


if __name__ == "__main__":
    main()
