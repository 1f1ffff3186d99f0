"""What is left of the blocks in restored JPEGs: the table of benchmarks/blocks.md.

    python benchmarks/blocks.py FOLDER [--model NAME|FILE ...] [--quality Q ...] [--nfe N ...]

Blockiness: the mean of |second difference| of luma across the borders of 8x8 blocks, relative to that elsewhere,
horizontally and vertically; 1 for pictures that know of no blocks. Every third picture of the folder, centre crops of
256x256.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bcm_restore import images, tasks, weights
from bcm_restore.metrics import psnr
from bcm_restore.simulation.degradations import Example, compressed

SIDE = 256
LUMA = np.array([0.299, 0.587, 0.114])


def crops(folder: Path) -> list[np.ndarray]:
    found = []
    for path in sorted(folder.iterdir())[::3]:
        if images.is_image(path):
            pixels = np.asarray(Image.open(path).convert("RGB"))
            height, width = (min(SIDE, side // 16 * 16) for side in pixels.shape[:2])
            y, x = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
            found.append(np.ascontiguousarray(pixels[y : y + height, x : x + width]))
    return found


def blockiness(pixels: np.ndarray) -> float:
    luma, ratios = pixels @ LUMA, []
    for plane in (luma, luma.T):
        steps = np.diff(plane, axis=1)
        second = np.abs(steps[:, 1:-1] - (steps[:, 2:] + steps[:, :-2]) / 2)
        border = (np.arange(second.shape[1]) + 2) % 8 == 0
        ratios.append(second[:, border].mean() / second[:, ~border].mean())
    return float(np.mean(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=weights.names())
    parser.add_argument("--quality", nargs="+", type=int, default=[15, 40, 80])
    parser.add_argument("--nfe", nargs="+", type=int, default=[1, 2, 4, 8])
    options = parser.parse_args()
    clean, jpeg = crops(options.folder), tasks.get("jpeg")
    print(f"{len(clean)} crops; blockiness of the clean ones {np.mean([blockiness(x) for x in clean]):.2f}.\n")
    print("| | " + " | ".join(f"quality {q}: PSNR, dB | blockiness" for q in options.quality) + " |")
    print("| --- " * (2 * len(options.quality) + 1) + "|")

    damaged = {q: [compressed(q)(x, np.random.default_rng(0)) for x in clean] for q in options.quality}

    def row(name: str, restore: Callable[[Example], np.ndarray]) -> None:
        cells = []
        for examples in damaged.values():
            results = [restore(example) for example in examples]
            cells.append(f"{np.mean([psnr(y, x) for y, x in zip(results, clean, strict=True)]):.2f}")
            cells.append(f"{np.mean([blockiness(y) for y in results]):.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    row("decoded", lambda example: example.damaged)
    for name in options.model:
        model = weights.load_model(name, device="cpu")
        for nfe in options.nfe:
            run = functools.partial(jpeg.restore, model=model, nfe=nfe)
            row(f"{model.name}, NFE {nfe}", lambda example: run(example.damaged, **example.inputs))  # noqa: B023


if __name__ == "__main__":
    main()
