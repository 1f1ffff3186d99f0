"""PSNR of deblurring with known kernels, and how often `auto` finds the blur: the tables of benchmarks/deblurring.md.

    python benchmarks/deblurring.py [--size 256] [--case NAME ...] [--nfe 1 2 4 8] [--model NAME [--only]] -- FOLDER ...
    python benchmarks/deblurring.py --auto [--size 256] [--noise 0] [--quality Q] FOLDER ...

Centre crops, of which 13 pixels at each side are lost to the blur; blurs and noise are seeded by the picture's index.
PSNR in dB, means over pictures, of all pixels that are left.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bcm_restore import images, tasks
from bcm_restore.bench.contestants.classical import lucy, wiener
from bcm_restore.errors import NothingToRestore
from bcm_restore.metrics import psnr
from bcm_restore.simulation.blur import fixed
from bcm_restore.simulation.degradations import VARIANTS, Example, blurred
from bcm_restore.tasks.arrays import to_tensor

BLURS = ("gaussian:1", "gaussian:1.6", "gaussian:2.5", "disk:3")
MOTIONS = ("motion:9:0", "motion:9:30", "motion:15:0", "motion:15:70")
NEAR, TURNED = 0.2, 10.0  # relative error of a size, and error of an angle in degrees, that count as right


def crops(folders: list[Path], size: int) -> Iterator[np.ndarray]:
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if images.is_image(path):
                picture = Image.open(path).convert("RGB")
                width, height = (min(size, side) for side in picture.size)
                left, top = (picture.width - width) // 2, (picture.height - height) // 2
                yield np.asarray(picture.crop((left, top, left + width, top + height)))


METHODS = {"blurred": lambda example: example.damaged, "Wiener": wiener, "Richardson-Lucy": lucy}


def known(clean: list[np.ndarray], cases: list[str], nfes: list[int], model: str | None, only: bool) -> None:
    """The table of results with known kernels."""
    task, methods = tasks.get("deblur"), {} if only else {**METHODS, "pseudo-inverse": inverse}
    names = (*methods, *(f"NFE {nfe}" for nfe in nfes))
    print(f"| case | {' | '.join(names)} |\n| --- {'| --- ' * len(names)}|")
    for name in cases:
        degrade = VARIANTS["deblur"][name]
        scores: dict[str, list[float]] = defaultdict(list)
        for number, picture in enumerate(clean):
            example = degrade(picture, np.random.default_rng(number))
            results = [method(example) for method in methods.values()]
            results += [task.restore(example.damaged, model=model, nfe=nfe, **example.inputs) for nfe in nfes]
            for method, result in zip(names, results, strict=True):
                scores[method].append(psnr(result, example.clean))
        print(f"| {name} | {' | '.join(f'{np.mean(scores[method]):.2f}' for method in names)} |", flush=True)


def inverse(example: Example) -> np.ndarray:
    """The operator's pseudo-inverse, without a network."""
    x, back = to_tensor(example.damaged)
    problem = tasks.get("deblur").problem(x, **example.inputs)
    return back(problem.operator.pinv(problem.y))


def search(clean: list[np.ndarray], noise: int, quality: int | None) -> None:
    """The table of what `auto` finds."""
    print("| blur | right | not found | wrong | wrong answers |\n| --- | --- | --- | --- | --- |")
    for text in ("none", *BLURS, *MOTIONS):
        degrade = blurred(fixed("gaussian:0.1" if text == "none" else text), noise)
        found = [
            blur_of(degrade(picture, np.random.default_rng(number)).damaged, quality)
            for number, picture in enumerate(clean)
        ]
        right = sum(is_right(one, text) for one in found)
        missed = sum(one == "none" for one in found) if text != "none" else 0
        wrong = [one for one in found if one != "none" and not is_right(one, text)]
        print(f"| {text} | {right} | {missed} | {len(wrong)} | {', '.join(wrong)} |", flush=True)


def blur_of(picture: np.ndarray, quality: int | None) -> str:
    """The blur that `auto` finds, after JPEG compression at that quality if one is given."""
    inputs: dict[str, Any] = {}
    if quality:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.jpg"
            Image.fromarray(picture).save(path, quality=quality)
            picture, inputs = images.read(path).pixels, {"coefficients": images.jpeg_coefficients(path)}
    try:
        remark = tasks.get("deblur").problem(to_tensor(picture)[0], **inputs).remark
    except NothingToRestore:
        return "none"
    return remark.removeprefix("blur found: ")


def is_right(found: str, text: str) -> bool:
    if "none" in (found, text):
        return found == text
    (shape, size, *angle), (true_shape, true_size, *true_angle) = found.split(":"), text.split(":")
    turns = [abs((float(a) - float(b) + 90) % 180 - 90) for a, b in zip(angle, true_angle, strict=shape == true_shape)]
    return shape == true_shape and abs(float(size) / float(true_size) - 1) <= NEAR and max(turns, default=0) <= TURNED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=256)
    cases = list(VARIANTS["deblur"])
    parser.add_argument("--case", nargs="+", default=cases, choices=cases)
    parser.add_argument("--nfe", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--model", default=None)
    parser.add_argument("--only", action="store_true", help="only the model, without other methods")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--noise", type=int, default=0)
    parser.add_argument("--quality", type=int, default=None)
    options = parser.parse_args()
    clean = list(crops(options.folders, options.size))[: options.limit]
    if options.auto:
        search(clean, options.noise, options.quality)
    else:
        known(clean, options.case, options.nfe, options.model, options.only)


if __name__ == "__main__":
    main()
