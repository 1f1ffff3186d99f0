"""Pairs of clean and damaged crops, for models that are trained for one kind of damage."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import RestoreError
from ..supervised.process import Damaged
from .data import Crops

if TYPE_CHECKING:
    from ..simulation.degradations import Degradation, Example
    from ..tasks import Task

CHUNK = 256  # crops damaged at a time


class Pairs:
    """Random pairs of clean and damaged crops from a pool that is made once: damaging takes longer than a step.

    Args:
        crops: the clean crops, on the CPU.
        task: name of the task that restores the damage.
        cases: names of degradations; each crop gets one of them.
        count: number of pairs in the pool.
        device: where the pool is kept.
        seed: of the crops and the damage.

    Raises:
        RestoreError: there is no such task or degradation.
    """

    def __init__(
        self, crops: Crops, task: str, cases: Sequence[str], count: int, device: torch.device, seed: int
    ) -> None:
        from ..simulation.degradations import degradations
        from ..tasks import get

        self.device = device
        generator = torch.Generator().manual_seed(seed)
        found = degradations(task, cases)
        clean, damaged, holes = [], [], []
        for start in range(0, count, CHUNK):
            images, _ = crops(min(CHUNK, count - start), generator)
            one = damage(images, get(task), list(found.values()), seed + start)
            clean.append(images.half())
            damaged.append(one.image.half())
            holes += [] if one.hole is None else [one.hole]
        self.clean = torch.cat(clean).to(device, memory_format=torch.channels_last)
        self.damaged = torch.cat(damaged).to(device, memory_format=torch.channels_last)
        self.holes = torch.cat(holes).to(device) if holes else None

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Damaged]:
        """`count` clean crops (count, 3, side, side) in [-1, 1], and the damaged ones."""
        chosen = torch.randint(len(self.clean), (count,), generator=generator, device=self.device)
        hole = None if self.holes is None else self.holes[chosen]
        return self.clean[chosen].float(), Damaged(self.damaged[chosen].float(), hole)


def damage(clean: Tensor, task: "Task", found: "Sequence[Degradation]", seed: int) -> Damaged:
    """Damages clean images (B, 3, H, W) in [-1, 1]; the results are the task's first estimates, on the CPU.

    Args:
        clean: the images.
        task: restores the damage.
        found: degradations; each image gets one of them, at random.
        seed: of the damage.
    """
    pixels = ((clean.cpu() + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    def one(number: int) -> tuple[Tensor, np.ndarray | None]:
        rng = np.random.default_rng((seed, number))
        example = found[int(rng.integers(len(found)))](pixels[number], rng)
        return first_estimate(task, _tensor(example.damaged), example), example.where

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images, holes = zip(*pool.map(one, range(len(pixels))), strict=True)
    if any(image.shape[2:] != clean.shape[2:] for image in images):
        raise RestoreError(f"'data.crop' is {clean.shape[2]}; the damage needs a multiple of its scale")
    hole = None if holes[0] is None else torch.from_numpy(np.stack(holes))[:, None]
    return Damaged(torch.cat(images), hole)


def first_estimate(task: "Task", x: Tensor, example: "Example") -> Tensor:
    """The damaged image as models for one kind of damage receive it, (1, 3, H, W) in [-1, 1].

    A picture with a hole, and a JPEG, are received as they are; small pictures are enlarged as if they had no flaws.

    Args:
        task: restores the damage.
        x: the damaged image (1, 3, h, w).
        example: its other inputs.
    """
    if example.where is not None or task.name == "jpeg":
        return x
    inputs = example.inputs
    if task.name == "super-resolve":
        inputs = {"scale": inputs["scale"], "kernel": inputs["kernel"], "noise": 0}
    return task.problem(x, **inputs).x


def _tensor(pixels: np.ndarray) -> Tensor:
    """(1, 3, H, W) in [-1, 1] from pixels (H, W, 3) uint8."""
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 127.5 - 1
