"""PSNR of every task at every default NFE, beside the classical baselines: the tables of benchmarks/restoration.md.

    python benchmarks/restoration.py FOLDER ...        folders of clean pictures
    python benchmarks/restoration.py                   the pictures inside scikit-image

Pictures are taken whole, cut to sides that are multiples of 24. Degradations are seeded by the picture's place in its
folder. Differences in dB are means over pictures. `fill` is the first estimate of inpainting, without any network.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from bcm_restore import images, tasks
from bcm_restore.metrics import psnr
from bcm_restore.model import BCM
from bcm_restore.tasks.fill import smooth_fill

Scores = dict[str, float]  # method to PSNR
Runs = dict[str, dict[str, Any]]  # method to options of `Task.restore`
WORDS = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"


def text(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Lines of writing across the picture."""
    mask = np.zeros(size, np.uint8)
    for y in range(14, size[0], 21):
        cv2.putText(mask, WORDS, (int(rng.integers(-60, 20)), y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    return mask > 0


def boxes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """32x32 boxes, one for every 128x128 pixels."""
    mask = np.zeros(size, bool)
    for _ in range(max(1, size[0] * size[1] // 128**2)):
        y, x = (int(rng.integers(8, side - 40)) for side in size)
        mask[y : y + 32, x : x + 32] = True
    return mask


def random_80(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """80 % of the pixels."""
    return rng.random(size) >= 0.2


def inpaint(make_mask: Callable[..., np.ndarray]) -> Callable[..., Scores]:
    def scores(clean: np.ndarray, rng: np.random.Generator, runs: Runs, model: BCM) -> Scores:
        mask = make_mask(rng, clean.shape[:2])
        damaged = np.where(mask[..., None], 0, clean).astype(np.uint8)
        hole = mask.astype(np.uint8)
        fill = smooth_fill(damaged.astype(np.float32), mask).round().astype(np.uint8)
        results = {
            "Telea": cv2.inpaint(damaged, hole, 3, cv2.INPAINT_TELEA),
            "Navier-Stokes": cv2.inpaint(damaged, hole, 3, cv2.INPAINT_NS),
            "fill": fill,
        }
        task = tasks.get("inpaint")
        results |= {name: task.restore(damaged, mask=mask, model=model, **options) for name, options in runs.items()}
        return {name: psnr(result, clean, mask) for name, result in results.items()}

    return scores


def jpeg(quality: int) -> Callable[..., Scores]:
    def scores(clean: np.ndarray, rng: np.random.Generator, runs: Runs, model: BCM) -> Scores:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.jpg"
            Image.fromarray(clean).save(path, quality=quality)
            decoded, coefficients = images.read(path).pixels, images.jpeg_coefficients(path)
        task = tasks.get("jpeg")
        results = {"decoded": decoded}
        results |= {
            name: task.restore(decoded, coefficients=coefficients, model=model, **options)
            for name, options in runs.items()
        }
        return {name: psnr(result, clean) for name, result in results.items()}

    return scores


def super_resolve(scale: int) -> Callable[..., Scores]:
    def scores(clean: np.ndarray, rng: np.random.Generator, runs: Runs, model: BCM) -> Scores:
        size = clean.shape[1::-1]
        small = Image.fromarray(clean).resize((size[0] // scale, size[1] // scale), Image.Resampling.BICUBIC)
        task = tasks.get("super-resolve")
        results = {"bicubic": np.asarray(small.resize(size, Image.Resampling.BICUBIC))}
        results |= {
            name: np.asarray(task.restore(small, scale=scale, model=model, **options)) for name, options in runs.items()
        }
        return {name: psnr(result, clean) for name, result in results.items()}

    return scores


CASES: dict[str, tuple[Callable[..., Scores], tuple[str, ...]]] = {
    "inpaint, text": (inpaint(text), ("Telea", "Navier-Stokes")),
    "inpaint, 32x32 boxes": (inpaint(boxes), ("Telea", "Navier-Stokes")),
    "inpaint, 80 % random": (inpaint(random_80), ("Telea", "Navier-Stokes")),
    **{f"JPEG quality {q}": (jpeg(q), ("decoded",)) for q in (5, 10, 20, 40, 80)},
    **{f"super-resolution x{s}": (super_resolve(s), ("bicubic",)) for s in (2, 3, 4, 8)},
}


def pictures(folder: Path | None) -> Iterator[np.ndarray]:
    """Clean RGB pictures, cut to multiples of 24."""
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
    """The lines of one folder's table."""
    runs: Runs = {f"NFE {n}": {"nfe": n} for n in nfes}
    columns = list(runs)
    lines = [f"| case | baseline, dB | fill | {' | '.join(columns)} |", "| --- " * (len(columns) + 3) + "|"]
    for name in chosen:
        scores, baselines = CASES[name]
        collected = defaultdict(list)
        for number, picture in enumerate(clean):
            for method, value in scores(picture, np.random.default_rng(number), runs, model).items():
                collected[method].append(value)
        means = {method: float(np.mean(values)) for method, values in collected.items()}
        best = max(baselines, key=lambda method: means[method])
        gains = [f"{means[c] - means[best]:+.2f}" for c in columns]
        fill = f"{means['fill'] - means[best]:+.2f}" if "fill" in means else ""
        lines.append(f"| {name} | {means[best]:.2f} ({best}) | {fill} | {' | '.join(gains)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--nfe", type=int, nargs="+", default=list(tasks.NFES))
    parser.add_argument("--case", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    model = tasks.base.ready(options.model)
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
