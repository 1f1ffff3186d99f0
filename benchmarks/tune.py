"""Finds the levels of a scheme by coordinate descent on PSNR.

    python benchmarks/tune.py "super-resolution x4" "level {}, mean, fit, level {}, to 0, fit" 0.3 0.1 --data FOLDER

The braces are the levels to tune, the numbers are where to begin. Degradations are those of benchmarks/restoration.py,
on 192x192 centre crops.
"""

import argparse
from pathlib import Path

import numpy as np
import restoration

from bcm_restore import tasks


def crops(folders: list[Path], side: int = 192) -> list[np.ndarray]:
    pictures = [picture for folder in folders for picture in restoration.pictures(folder)]
    starts = [[(length - side) // 2 for length in picture.shape[:2]] for picture in pictures]
    return [
        np.ascontiguousarray(picture[y : y + side, x : x + side])
        for picture, (y, x) in zip(pictures, starts, strict=True)
        if min(y, x) >= 0
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=list(restoration.CASES))
    parser.add_argument("template")
    parser.add_argument("levels", nargs="+", type=float)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--factors", nargs="+", type=float, default=[1.4, 1.15])
    options = parser.parse_args()
    clean, model = crops(options.data), tasks.base.ready(None)
    scores, _ = restoration.CASES[options.case]

    def mean_psnr(levels: list[float]) -> float:
        scheme = options.template.format(*[f"{level:.3g}" for level in levels])
        values = [
            scores(picture, np.random.default_rng(n), {"it": {"scheme": scheme}}, model)["it"]
            for n, picture in enumerate(clean)
        ]
        return float(np.mean(values))

    levels, best = options.levels, mean_psnr(options.levels)
    print(f"{best:.3f} dB  {levels}", flush=True)
    for factor in options.factors:
        for index in range(len(levels)):
            for change in (factor, 1 / factor):
                while True:
                    tried = [level * change if n == index else level for n, level in enumerate(levels)]
                    value = mean_psnr(tried)
                    if value < best + 0.002:
                        break
                    best, levels = value, tried
                    print(
                        f"{best:.3f} dB  {options.template.format(*[f'{level:.3g}' for level in levels])}", flush=True
                    )


if __name__ == "__main__":
    main()
