"""Colorization beside the grey picture itself: PSNR, and how much colour there is (benchmarks/colorization.md).

    python benchmarks/colorization.py FOLDER ... [--limit 8]

Crops of 256x256 (shorter side scaled, then centred); grey pictures in the folder are left out. The colourfulness is
that of Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003, M3: 0 for grey, 33 for moderately and
59 for quite colourful pictures.
"""

import argparse
from pathlib import Path

import numpy as np

from bcm_restore import tasks
from bcm_restore.bench.pictures import load
from bcm_restore.metrics import psnr
from bcm_restore.simulation.degradations import grey
from bcm_restore.tasks.base import loaded

NFES = (1, 2, 4, 8)
COLOURED = 5.0  # least colourfulness of a picture in colour


def colourfulness(pixels: np.ndarray) -> float:
    """sigma_rgyb + 0.3 mu_rgyb, with rg = R - G and yb = (R + G) / 2 - B, of (H, W, 3) uint8."""
    red, green, blue = np.moveaxis(pixels.astype(np.float64), 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--model", default=None)
    parser.add_argument("--nfe", type=int, nargs="+", default=NFES)
    options = parser.parse_args()
    task, model = tasks.get("colorize"), loaded(options.model)
    print("| pictures | model | result | PSNR, dB | better than grey | colourfulness, of the truth |")
    print("| --- " * 6 + "|")
    for folder in options.folders:
        clean = [one.read() for one in load(folder, options.size).clean]
        clean = [picture for picture in clean if colourfulness(picture) > COLOURED][: options.limit]
        examples = [grey(picture, np.random.default_rng()) for picture in clean]
        base = np.array([psnr(one.damaged, one.clean) for one in examples])
        truth = np.mean([colourfulness(picture) for picture in clean])
        name = f"{folder.name} ({len(clean)})"
        print(f"| {name} | | grey | {base.mean():.2f} | | 0 of {truth:.1f} |")
        for nfe in options.nfe:
            results = [task.restore(one.damaged, nfe=nfe, model=model) for one in examples]
            scores = np.array([psnr(a, b) for a, b in zip(results, clean, strict=True)])
            colour = np.mean([colourfulness(result) for result in results])
            gain = f"{scores.mean():.2f} ({scores.mean() - base.mean():+.2f})"
            better = f"{(scores > base).sum()} of {len(clean)}"
            print(f"| {name} | {model.name} | NFE {nfe} | {gain} | {better} | {colour:.1f} |", flush=True)


if __name__ == "__main__":
    main()
