"""Time and peak memory of the command line on pictures of 1, 12 and 100 megapixels: the tables of benchmarks/giants.md.

    python benchmarks/giants.py

The picture is scikit-image's astronaut, enlarged and given some grain, so that nothing is flat. Seconds are those of
the command's own report: reading, restoring, writing, without start-up and loading the model.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

SIZES = {1: (1000, 1000), 12: (4000, 3000), 100: (12500, 8000)}

# Options of the command for a size in megapixels, and the sizes that it is run on.
RUNS = [
    ("inpaint {0}.tif --mask {0}thin.png --nfe 1", (1, 12, 100)),
    ("inpaint {0}.tif --mask {0}thin.png --nfe 4", (1, 12, 100)),
    ("inpaint {0}.tif --mask {0}random.png --nfe 1", (1, 12, 100)),
    ("inpaint {0}.png --mask {0}wide.png --nfe 1", (1, 12, 100)),
    ("jpeg-restore {0}.jpg --nfe 1", (1, 12, 100)),
    ("jpeg-restore {0}decoded.png --nfe 1", (1, 12, 100)),
    ("jpeg-restore {0}decoded.tif --nfe 1", (1, 12, 100)),
    ("super-resolve {0}small.png --scale 4 --nfe 1", (1, 12, 100)),
]

# Runs its arguments and prints the peak memory of that one child in kilobytes.
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def prepare(folder: Path, megapixels: int) -> None:
    rng, (width, height) = np.random.default_rng(0), SIZES[megapixels]
    pixels = np.asarray(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.BICUBIC)).copy()
    for row in pixels:  # floats of the whole would be large
        row[:] = (row + rng.normal(0, 4, row.shape)).clip(0, 255)
    picture, name = Image.fromarray(pixels), str(folder / str(megapixels))
    picture.save(f"{name}.tif")
    picture.save(f"{name}.png", compress_level=1)
    picture.save(f"{name}.jpg", quality=30)
    decoded = Image.open(f"{name}.jpg")
    decoded.save(f"{name}decoded.png", compress_level=1)
    decoded.save(f"{name}decoded.tif")
    picture.crop((0, 0, width // 4, height // 4)).save(f"{name}small.png")
    mask = np.zeros((height, width), np.uint8)
    mask[::40] = mask[1::40] = mask[2::40] = 255
    Image.fromarray(mask).save(f"{name}thin.png")
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    Image.fromarray(mask).save(f"{name}wide.png")
    Image.fromarray((rng.random((height, width)) < 0.8).astype(np.uint8) * 255).save(f"{name}random.png")


def run(folder: Path, arguments: str) -> tuple[float, float]:
    """(seconds a megapixel of output, peak memory in GB)."""
    command = [sys.executable, "-m", "bcm_restore", *arguments.split(), "--overwrite", "--json"]
    watch = [sys.executable, "-c", WATCH, *command]
    printed = subprocess.run(watch, cwd=folder, check=True, capture_output=True, text=True).stdout
    document, _, kilobytes = printed.rstrip().rpartition("\n")
    [record] = json.loads(document)["files"]
    return record["seconds"] / (record["size"][0] * record["size"][1] / 1e6), int(kilobytes) / 1e6


def main() -> None:
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels in SIZES:
            prepare(folder, megapixels)
        print(
            "| command | megapixels | s/MP | to 1 MP | peak memory, GB |\n| --- | --- | --- | --- | --- |", flush=True
        )
        for arguments, sizes in RUNS:
            first = None
            for megapixels in sizes:
                seconds, memory = run(folder, arguments.format(megapixels))
                first = first or seconds
                shown = f"`{arguments.format(megapixels)}` | {megapixels} | {seconds:.2f} | {seconds / first:.2f}"
                print(f"| {shown} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
