"""Time and peak memory of the command line on 12-megapixel pictures: the table of benchmarks/giants.md.

    python benchmarks/giants.py

The picture is scikit-image's astronaut, enlarged to 4000x3000 and given some grain, so that nothing is flat.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

SIZE = (4000, 3000)

# Runs its arguments and prints the peak memory of that one child in kilobytes.
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def prepare(folder: Path) -> None:
    rng = np.random.default_rng(0)
    large = np.asarray(Image.fromarray(data.astronaut()).resize(SIZE, Image.Resampling.BICUBIC)).astype(np.float32)
    large = (large + rng.normal(0, 4, large.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(large).save(folder / "large.png", compress_level=1)
    Image.fromarray(large).save(folder / "large.jpg", quality=30)
    Image.fromarray(large[:750, :1000]).save(folder / "small.png")
    thin = np.zeros(SIZE[::-1], np.uint8)
    thin[::40] = thin[1::40] = thin[2::40] = 255
    Image.fromarray(thin).save(folder / "thin.png")
    Image.fromarray((rng.random(SIZE[::-1]) < 0.8).astype(np.uint8) * 255).save(folder / "random.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        print("| command | seconds | peak memory, GB |\n| --- | --- | --- |", flush=True)
        for arguments in (
            "inpaint large.png --mask thin.png --nfe 1",
            "inpaint large.png --mask thin.png --nfe 4",
            "inpaint large.png --mask random.png --nfe 4",
            "jpeg-restore large.jpg --nfe 1",
            "jpeg-restore large.jpg --nfe 4",
            "super-resolve small.png --scale 4 --nfe 4",
        ):
            start = time.perf_counter()
            command = [
                sys.executable,
                "-c",
                WATCH,
                sys.executable,
                "-m",
                "bcm_restore",
                *arguments.split(),
                "--overwrite",
            ]
            run = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            seconds, kilobytes = time.perf_counter() - start, int(run.stdout.split()[-1])
            print(f"| `{arguments}` | {seconds:.0f} | {kilobytes / 1e6:.2f} |", flush=True)


if __name__ == "__main__":
    main()
