"""What a chain gains over the commands one after the other: the tables of benchmarks/chains.md.

    python benchmarks/chains.py FOLDER         a folder of clean pictures

Crops of 256x256 from the middle are halved with Pillow's bicubic filter and saved as JPEG, some with a text mask over
them. PSNR against the crop, means over pictures.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from bcm_restore import images, restore_file, tasks
from bcm_restore.metrics import psnr
from bcm_restore.simulation.masks import text

SIDE = 256
QUALITIES = (10, 40)
TABLES = [[9 + 2 * (n // 8 + n % 8) for n in range(64)], [20 + 3 * (n // 8 + n % 8) for n in range(64)]]


def cropped(path: Path) -> Image.Image | None:
    image = Image.open(path).convert("RGB")
    if min(image.size) < SIDE:
        return None
    left, top = ((side - SIDE) // 2 for side in image.size)
    return image.crop((left, top, left + SIDE, top + SIDE))


def by_commands(path: Path, steps: list[tuple[str, dict]]) -> np.ndarray:
    """The steps as commands, with files of 8 bits between them."""
    for n, (task, options) in enumerate(steps):
        out = path.with_name(f"{n}.png")
        restore_file(task, path, out, overwrite=True, **options)
        path = out
    return images.read(path).pixels


def by_chain(path: Path, steps: str) -> np.ndarray:
    out = path.with_name("chain.png")
    restore_file("restore", path, out, steps=steps, overwrite=True)
    return images.read(out).pixels


def enlarged(clean: Image.Image, folder: Path, quality: int) -> dict[str, float]:
    small = clean.resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)
    small.save(path := folder / "small.jpg", quality=quality)
    larger = {"scale": 2}
    results = {
        "bicubic": np.asarray(Image.open(path).resize((SIDE, SIDE), Image.Resampling.BICUBIC)),
        "super-resolve x2": by_chain(path, "super-resolve x2"),
        "two commands": by_commands(path, [("jpeg", {}), ("super-resolve", larger)]),
        "jpeg, super-resolve x2": by_chain(path, "jpeg, super-resolve x2"),
    }
    return {name: psnr(result, np.asarray(clean)) for name, result in results.items()}


def written_on(clean: Image.Image, folder: Path, quality: int, rng: np.random.Generator) -> dict[str, float]:
    hole = text(rng, (SIDE, SIDE))
    damaged = np.where(hole[..., None], 255, np.asarray(clean)).astype(np.uint8)
    Image.fromarray(damaged).save(path := folder / "written.jpg", quality=quality)
    Image.fromarray((hole * 255).astype(np.uint8)).save(mask := folder / "mask.png")
    results = {
        "inpaint": by_chain(path, f"inpaint mask={mask}"),
        "inpaint, jpeg": by_chain(path, f"inpaint mask={mask}, jpeg"),
        "jpeg, inpaint": by_chain(path, f"jpeg, inpaint mask={mask}"),
    }
    return {name: psnr(result, np.asarray(clean)) for name, result in results.items()}


def own_tables(clean: Image.Image, folder: Path) -> dict[str, float]:
    clean.save(path := folder / "tables.jpg", qtables=TABLES, subsampling="4:2:0")
    task = tasks.get("jpeg")
    results = {
        "decoded": np.asarray(Image.open(path)),
        "pixels": np.asarray(task.restore(np.asarray(Image.open(path)))),
        "PIL image of the file": np.asarray(task.restore(Image.open(path))),
    }
    return {name: psnr(result, np.asarray(clean)) for name, result in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, metavar="N", help="the first N pictures only")
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    arguments = parser.parse_args()
    pictures = [clean for path in sorted(arguments.folder.iterdir()) if (clean := cropped(path))][: arguments.most]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for n, clean in enumerate(pictures):
            for quality in QUALITIES:
                found[f"small, quality {quality}"].append(enlarged(clean, folder, quality))
            for quality in QUALITIES:
                found[f"text, quality {quality}"].append(written_on(clean, folder, quality, np.random.default_rng(n)))
            found["tables of no quality"].append(own_tables(clean, folder))
    for case, scores in found.items():
        means = {name: np.mean([score[name] for score in scores]) for name in scores[0]}
        print(f"{case} ({len(scores)}): " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()))


if __name__ == "__main__":
    main()
