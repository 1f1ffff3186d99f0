"""Blur kernels of the simulated degradations."""

from collections.abc import Callable

import numpy as np

from ..operators import kernels

MakeKernel = Callable[[np.random.Generator], np.ndarray]  # -> (h, w), odd sides, sum 1

SIDES = (19, 21, 23, 25, 27)  # of camera shakes, as of those recorded by Levin et al. 2009
STEPS, SAMPLES = 200, 4000  # of a path, and along it
INERTIA, PUSH = 0.95, 0.35  # share of the velocity that a step keeps, and the spread of what is added


def fixed(text: str) -> MakeKernel:
    """The kernel of a text such as "gaussian:2"."""
    return lambda rng: kernels.named(text).numpy()


def shake(rng: np.random.Generator) -> np.ndarray:
    """The path of a shaken camera: a random walk with inertia, which just fits into a square of 19 to 27 pixels."""
    side = int(rng.choice(SIDES))
    velocity, path = rng.normal(size=2), np.zeros((STEPS + 1, 2))
    for n in range(STEPS):
        velocity = INERTIA * velocity + PUSH * rng.normal(size=2)
        path[n + 1] = path[n] + velocity
    path -= (path.max(0) + path.min(0)) / 2
    path *= (side / 2 - 1.5) / np.abs(path).max()
    times = np.linspace(0, STEPS, SAMPLES + 1)
    rows, columns = (np.interp(times, np.arange(STEPS + 1), axis) + side // 2 for axis in path.T)
    kernel = np.zeros((side, side))
    for row in (np.floor(rows), np.floor(rows) + 1):  # each sample is shared by the four pixels around it
        for column in (np.floor(columns), np.floor(columns) + 1):
            share = (1 - np.abs(rows - row)) * (1 - np.abs(columns - column))
            np.add.at(kernel, (row.astype(int), column.astype(int)), share)
    return (kernel / kernel.sum()).astype(np.float32)
