"""`tasks.Custom` with three operators of deepinv, beside deepinv's DDRM and DiffPIR with the same network and NFE.

    python benchmarks/custom_operators.py FOLDER [--limit 4]

Centre crops of 64x64 after halving, PSNR of RGB in dB. The operators are a mask that leaves 20 % of the pixels, a
Gaussian blur (sigma 1.5) with noise of sigma 0.01, and 25 % of the Hadamard coefficients (compressed sensing). All
solvers start from the first estimate of `Custom`; their settings are those of the bench, and of two ranges of noise
levels the better one counts, for each operator and NFE.
"""

import argparse
from pathlib import Path

import deepinv
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bcm_restore import images
from bcm_restore.bench.contestants.solvers import SOLVERS, spread
from bcm_restore.tasks import Custom
from bcm_restore.tasks.base import loaded

SIDE = 64
RANGES = ((0.5, 0.03), (0.1, 0.03))  # the bench's, for images in [-1, 1]
NFES = (1, 4, 8)


def operators() -> dict[str, deepinv.physics.LinearPhysics]:
    kinds, size = deepinv.physics, (3, SIDE, SIDE)
    kernel = kinds.functional.gaussian_blur(sigma=(1.5, 1.5))
    return {
        "mask, 80 % missing": kinds.Inpainting(size, mask=0.2, rng=torch.Generator().manual_seed(0)),
        "blur, noise 0.01": kinds.BlurFFT(size, kernel, noise_model=kinds.GaussianNoise(0.01)),
        "Hadamard, 25 %": kinds.SinglePixelCamera(SIDE**2 // 4, size, fast=True),
    }


def crops(folder: Path, limit: int) -> list[Tensor]:
    """(1, 3, SIDE, SIDE) in [0, 1]."""
    found = []
    for path in sorted(filter(images.is_image, folder.iterdir()))[:limit]:
        image = Image.open(path).convert("RGB").reduce(2)
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))
        found.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255)
    return found


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * float(torch.log10((a.clamp(0, 1) - b).square().mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=4)
    options = parser.parse_args()
    clean, model = crops(options.folder, options.limit), loaded(None)
    print(f"| operator | NFE | first estimate | {' | '.join(['Custom', 'DDRM', 'DiffPIR'])} |\n{'| --- ' * 6}|")
    for name, physics in operators().items():
        torch.manual_seed(0)
        noise = float(getattr(physics.noise_model, "sigma", 0.0))
        task = Custom(physics)
        measured = [physics(x) for x in clean]
        problems = [task.problem(y) for y in measured]
        first = np.mean([psnr((p.x + 1) / 2, x) for p, x in zip(problems, clean, strict=True)])
        for nfe in NFES:
            own = [psnr(task.restore(y, nfe=nfe, model=model), x) for y, x in zip(measured, clean, strict=True)]
            row = [first, np.mean(own)]
            for key in ("ddrm", "diffpir"):
                solver, best = SOLVERS[key], -np.inf
                # DDRM reads sigma from the physics; DiffPIR gets it as a parameter, or would replace its noise levels
                kinds = deepinv.physics
                physics.noise_model = kinds.GaussianNoise(noise) if key == "ddrm" else kinds.ZeroNoise()
                parameters = {**solver.parameters, **({"sigma": noise} if key == "diffpir" and noise else {})}
                for ends in RANGES:
                    restored = [(solver.solve(p, model, spread(*ends, nfe), 0, **parameters) + 1) / 2 for p in problems]
                    best = max(best, np.mean([psnr(u, x) for u, x in zip(restored, clean, strict=True)]))
                row.append(best)
            print(
                f"| {name} | {nfe} | {' | '.join(f'{value:.2f}' if np.isfinite(value) else 'NaN' for value in row)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
