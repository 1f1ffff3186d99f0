"""Super-resolution of realistic small pictures, compared with Pillow's bicubic: benchmarks/small_pictures.md.

    python benchmarks/small_pictures.py [--model NAME|FILE] [--scale S ...] [--nfe N] FOLDER ...

Centre crops (256x256, or smaller if the picture is) are downscaled by Pillow's bicubic, or degraded as the row states;
the results are compared with the crops. Differences in dB are means over pictures.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from bcm_restore import images, tasks
from bcm_restore.metrics import psnr

SIDE = 256

Small = tuple[np.ndarray, dict[str, Any]]  # the picture and the task's other inputs
Damage = Callable[[Image.Image, tuple[int, int], int], Small]  # of a clean picture, the small size, its index


def crops(folder: Path) -> Iterator[Image.Image]:
    for path in sorted(folder.iterdir()):
        if images.is_image(path):
            picture = Image.open(path).convert("RGB")
            width, height = (min(SIDE, side // 8 * 8) for side in picture.size)
            left, top = (picture.width - width) // 2, (picture.height - height) // 2
            yield picture.crop((left, top, left + width, top + height))


def filtered(filter: Image.Resampling) -> Damage:
    return lambda clean, size, number: (np.asarray(clean.resize(size, filter)), {})


def by_opencv(filter: int) -> Damage:
    return lambda clean, size, number: (cv2.resize(np.asarray(clean), size, interpolation=filter), {})


def noisy(sigma: float) -> Damage:
    def damage(clean: Image.Image, size: tuple[int, int], number: int) -> Small:
        small = np.asarray(clean.resize(size, Image.Resampling.BICUBIC))
        small = small + sigma * np.random.default_rng(number).standard_normal(small.shape)
        return small.round().clip(0, 255).astype(np.uint8), {}

    return damage


def compressed(quality: int) -> Damage:
    def damage(clean: Image.Image, size: tuple[int, int], number: int) -> Small:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.jpg"
            clean.resize(size, Image.Resampling.BICUBIC).save(path, quality=quality)
            return images.read(path).pixels, {"coefficients": images.jpeg_coefficients(path)}

    return damage


def without_file(damage: Damage) -> Damage:
    """The pixels alone, as of a PNG."""
    return lambda clean, size, number: (damage(clean, size, number)[0], {})


def grey(damage: Damage) -> Damage:
    return lambda clean, size, number: damage(clean.convert("L"), size, number)


ROWS: dict[str, Damage] = {
    "clean": filtered(Image.Resampling.BICUBIC),
    **{f"noise, sigma {sigma}": noisy(sigma) for sigma in (2, 5, 10)},
    **{f"JPEG, quality {quality}": compressed(quality) for quality in (30, 60, 90)},
    "JPEG, quality 30, saved as PNG": without_file(compressed(30)),
    **{f"grey, noise, sigma {sigma}": grey(noisy(sigma)) for sigma in (5, 10)},
    "grey, JPEG, quality 30": grey(compressed(30)),
    "by Pillow's Lanczos": filtered(Image.Resampling.LANCZOS),
    "by OpenCV's area": by_opencv(cv2.INTER_AREA),
    "by Pillow's nearest": filtered(Image.Resampling.NEAREST),
    "by OpenCV's nearest": by_opencv(cv2.INTER_NEAREST),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--nfe", type=int, default=tasks.DEFAULT_NFE)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    model, task = tasks.base.loaded(options.model), tasks.get("super-resolve")
    print("| pictures | scale | small picture | bicubic, dB | gain | least | greatest | said |")
    print("| --- " * 8 + "|")
    for folder in options.folders:
        clean = list(crops(folder))
        for scale in options.scale:
            for row, damage in ROWS.items():
                base, gains, said = [], [], 0
                for number, picture in enumerate(clean):
                    small, inputs = damage(picture, (picture.width // scale, picture.height // scale), number)
                    wanted = np.asarray(picture if small.ndim == 3 else picture.convert("L"))
                    made = task.run(small, scale=scale, nfe=options.nfe, model=model, **inputs)
                    bicubic = np.asarray(Image.fromarray(small).resize(picture.size, Image.Resampling.BICUBIC))
                    base.append(psnr(bicubic, wanted))
                    gains.append(psnr(made.image, wanted) - base[-1])
                    said += bool(made.remark)
                figures = f"{np.mean(base):.2f} | {np.mean(gains):+.2f} | {min(gains):+.2f} | {max(gains):+.2f}"
                print(f"| {folder.name} ({len(clean)}) | x{scale} | {row} | {figures} | {said} |", flush=True)


if __name__ == "__main__":
    main()
