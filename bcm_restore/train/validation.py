"""Scores of a model on held-out pictures."""

import torch
from torch import Tensor

from ..model import BCM, Noise
from ..supervised import Damaged, SupervisedModel
from .damage import damage

SIGMAS = (15, 25, 50)  # of noise, in units of 8-bit pixels
NFES = (1, 4)  # of supervised models
RESTORED = tuple(f"restored_{nfe}" for nfe in NFES)
SCORES = (*(f"psnr_{sigma}" for sigma in SIGMAS), "round_trip", "hole", *RESTORED)
BATCH = 8


def validate(model: BCM, clean: Tensor) -> dict[str, float]:
    """Scores a model on clean images (N, 3, H, W) in [-1, 1]; always with the same noise.

    Returns:
        psnr_15, psnr_25, psnr_50: PSNR of the posterior mean at these sigmas (of 255), in dB.
        round_trip: per-pixel MSE (images in [0, 1]) of inverting from level 0.07 to sigma_max and back, 1 NFE each.
        hole: PSNR of 80 % of the pixels, masked at random, inpainted in one evaluation; models with level maps only.
    """
    batches = clean.split(BATCH)
    scores: dict[str, list[Tensor]] = {}
    for n, x in enumerate(batches):
        noise = Noise([1000 * n + k for k in range(len(x))])
        for name, value in _scores(model, x.to(model.device), noise).items():
            scores.setdefault(name, []).append(value.cpu())
    return {name: float(torch.cat(values).mean()) for name, values in scores.items()}


def validate_supervised(model: SupervisedModel, clean: Tensor, seed: int) -> dict[str, float]:
    """Scores a model on clean images (N, 3, H, W) in [-1, 1], with the damage that it is trained for.

    Returns:
        restored_1, restored_4: PSNR in the damaged pixels, restored with that NFE, in dB.
    """
    from ..simulation.degradations import degradations
    from ..tasks import get

    found = list(degradations(model.damage["task"], model.damage["cases"]).values())
    damaged = damage(clean, get(model.damage["task"]), found, seed)
    scores: dict[str, list[Tensor]] = {name: [] for name in RESTORED}
    for start in range(0, len(clean), BATCH):
        part = slice(start, start + BATCH)
        hole = None if damaged.hole is None else damaged.hole[part]
        x = Damaged(damaged.image[part], hole).to(model.device)
        for name, nfe in zip(RESTORED, NFES, strict=True):
            restored = model.restore(x, nfe, Noise(range(start, start + len(x.image)))).cpu()
            scores[name].append(psnr(restored, clean[part], hole))
    return {name: float(torch.cat(values).mean()) for name, values in scores.items()}


def _scores(model: BCM, x: Tensor, noise: Noise) -> dict[str, Tensor]:
    """(B,) of each score."""
    scores = {}
    if model.diagonal:
        for sigma in SIGMAS:
            t = sigma / 127.5
            scores[f"psnr_{sigma}"] = psnr(model.mean(x + t * noise(x), t), x)
    inverted = model.invert(x + 0.07 * noise(x), 0.07)
    back = model.denoise(inverted, model.sigma_max)
    scores["round_trip"] = ((back - x) / 2).square().mean((1, 2, 3))
    if model.level_maps:
        known = noise(x)[:, :1] > 0.8416  # 20 % of the pixels
        t = model.sigma_max
        scores["hole"] = psnr(fill(model, torch.where(known, x, x + t * noise(x)), known), x, ~known)
    return scores


def fill(model: BCM, x: Tensor, known: Tensor) -> Tensor:
    """Inpaints the unknown pixels of x, at sigma_max, in one evaluation."""
    if model.diagonal:
        return model.mean(x, model.sigma_max, known)
    return model.traverse(x, model.sigma_max, model.sigma_min, known)


def psnr(image: Tensor, clean: Tensor, where: Tensor | None = None) -> Tensor:
    """PSNR (B,) in dB of images in [-1, 1], within `where` (B, 1, H, W) if given."""
    squares = ((image.clamp(-1, 1) - clean) / 2).square().mean(1, keepdim=True)
    weight = torch.ones_like(squares) if where is None else where.to(squares.dtype)
    return -10 * torch.log10((squares * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)))
