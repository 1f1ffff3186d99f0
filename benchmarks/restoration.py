"""PSNR of every task at every default NFE, compared with classical baselines: the tables of benchmarks/restoration.md.

    python benchmarks/restoration.py FOLDER ...        folders of clean pictures
    python benchmarks/restoration.py                   scikit-image's pictures

Whole pictures are used, cropped to multiples of 24. Degradations are seeded by the picture's index in its folder.
Differences in dB are means over pictures. `fill` is the first estimate of inpainting, without a network, and
`biharmonic` is scikit-image's `inpaint_biharmonic`, skipped if most of a picture is missing: it takes minutes.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from bcm_restore import images, tasks
from bcm_restore.bench.contestants.classical import biharmonic
from bcm_restore.fill import smooth_fill
from bcm_restore.metrics import psnr
from bcm_restore.model import BCM
from bcm_restore.simulation.degradations import Degradation, Example, compressed, downscaled, masked
from bcm_restore.simulation.masks import MakeMask, boxes, random_80, text

Baselines = Callable[[Example], dict[str, np.ndarray]]  # results without a model, by method
Runs = dict[str, dict[str, Any]]  # options of `Task.restore`, by method


@dataclass(frozen=True)
class Case:
    """A row: the task, its degradation, and the baselines; gains are relative to the best of `over`."""

    task: str
    degrade: Degradation
    baselines: Baselines
    over: tuple[str, ...]

    def scores(self, clean: np.ndarray, rng: np.random.Generator, runs: Runs, model: BCM) -> dict[str, float]:
        """PSNR by method."""
        example, task = self.degrade(clean, rng), tasks.get(self.task)
        results = self.baselines(example)
        for name, options in runs.items():
            results[name] = task.restore(example.damaged, model=model, **example.inputs, **options)
        return {name: psnr(result, example.clean, example.where) for name, result in results.items()}


def filled(example: Example) -> dict[str, np.ndarray]:
    mask = example.inputs["mask"]
    hole = mask.astype(np.uint8)
    slow = {} if mask.mean() > 0.5 else {"biharmonic": biharmonic(example)}
    return slow | {
        "Telea": cv2.inpaint(example.damaged, hole, 3, cv2.INPAINT_TELEA),
        "Navier-Stokes": cv2.inpaint(example.damaged, hole, 3, cv2.INPAINT_NS),
        "fill": smooth_fill(example.damaged.astype(np.float32), mask).round().astype(np.uint8),
    }


def decoded(example: Example) -> dict[str, np.ndarray]:
    return {"decoded": example.damaged}


def bicubic(example: Example) -> dict[str, np.ndarray]:
    size = example.clean.shape[1::-1]
    return {"bicubic": np.asarray(Image.fromarray(example.damaged).resize(size, Image.Resampling.BICUBIC))}


def inpaint(make_mask: MakeMask) -> Case:
    return Case("inpaint", masked(make_mask), filled, ("Telea", "Navier-Stokes"))


CASES: dict[str, Case] = {
    "inpaint, text": inpaint(text),
    "inpaint, 32x32 boxes": inpaint(boxes),
    "inpaint, 80 % random": inpaint(random_80),
    **{f"JPEG quality {q}": Case("jpeg", compressed(q), decoded, ("decoded",)) for q in (5, 10, 20, 40, 80)},
    **{f"super-resolution x{s}": Case("super-resolve", downscaled(s), bicubic, ("bicubic",)) for s in (2, 3, 4, 8)},
}


def pictures(folder: Path | None) -> Iterator[np.ndarray]:
    """Clean RGB pictures, cropped to multiples of 24."""
    if folder is None:
        from skimage import data

        clean = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    else:
        clean = [
            np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir()) if images.is_image(path)
        ]
    for picture in clean:
        height, width = (side // 24 * 24 for side in picture.shape[:2])
        yield np.ascontiguousarray(picture[:height, :width])


def measure(clean: list[np.ndarray], nfes: list[int], chosen: list[str], model: BCM) -> list[str]:
    """The lines of the table for a set of pictures."""
    runs: Runs = {f"NFE {n}": {"nfe": n} for n in nfes}
    columns = list(runs)
    aside = ("fill", "biharmonic")  # further columns for inpainting
    lines = [f"| {' | '.join(['case', 'baseline, dB', *aside, *columns])} |", "| --- " * (len(columns) + 4) + "|"]
    for name in chosen:
        case = CASES[name]
        collected = defaultdict(list)
        for number, picture in enumerate(clean):
            for method, value in case.scores(picture, np.random.default_rng(number), runs, model).items():
                collected[method].append(value)
        means = {method: float(np.mean(values)) for method, values in collected.items()}
        best = max(case.over, key=lambda method: means[method])
        gains = [f"{means[c] - means[best]:+.2f}" if c in means else "" for c in (*aside, *columns)]
        lines.append(f"| {name} | {means[best]:.2f} ({best}) | {' | '.join(gains)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--nfe", type=int, nargs="+", default=list(tasks.NFES))
    parser.add_argument("--case", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    model = tasks.base.loaded(options.model)
    for folder in options.folders or [None]:
        clean, start = list(pictures(folder)), time.perf_counter()
        lines = measure(clean, options.nfe, options.case, model)
        minutes = (time.perf_counter() - start) / 60
        print(f"\n### {folder.name if folder else 'scikit-image'} ({len(clean)} pictures)\n")
        print("\n".join(lines))
        threads = torch.get_num_threads()
        print(f"\nModel {model.name}, torch {torch.__version__}, {threads} threads, {minutes:.1f} minutes.")


if __name__ == "__main__":
    main()
