"""The accuracy of the one-evaluation map: the tables and samples of benchmarks/flow_map.md.

    python benchmarks/flow_map.py FOLDER [--model NAME|FILE ...]

On 128x128 centre crops of the folder's pictures: denoising by the posterior mean, the map f(x, t, u) in one evaluation
against the 64-step Heun solution of the network's own diagonal ODE, and round trips of inversion and denoising.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bcm_restore import images, weights
from bcm_restore.model import BCM, Noise

STEPS = 64
LEVELS = (0.1, 0.3, 1.0, 3.0, 20.0, 80.0)
SIGMAS = (15, 25, 50)
ROUTES = {"80": (80.0,), "15, 80": (15.0, 80.0), "3": (3.0,), "0.5": (0.5,)}
START = 0.07  # level from which pictures are inverted


def crops(folder: Path, side: int = 128) -> Tensor:
    """(N, 3, side, side) in [-1, 1]."""
    found = []
    for path in sorted(folder.iterdir()):
        if images.is_image(path):
            pixels = np.asarray(Image.open(path).convert("RGB"))
            y, x = ((length - side) // 2 for length in pixels.shape[:2])
            found.append(torch.from_numpy(pixels[y : y + side, x : x + side].copy()).permute(2, 0, 1))
    return torch.stack(found).float() / 127.5 - 1


def heun(model: BCM, x: Tensor, t: float, u: float, steps: int = STEPS, rho: float = 7.0) -> Tensor:
    """Solves the ODE from level t to u in Karras' steps, with slope (x - D) / t for posterior mean D (EDM, alg. 1)."""
    line = torch.linspace(t ** (1 / rho), u ** (1 / rho), steps + 1, dtype=torch.float64) ** rho
    for a, b in zip(line[:-1].tolist(), line[1:].tolist(), strict=True):
        slope = (x - model.mean(x, a)) / a
        ahead = x + (b - a) * slope
        x = x + (b - a) * (slope + (ahead - model.mean(ahead, b)) / b) / 2
    return x


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def psnr_table(model: BCM, x: Tensor) -> list[str]:
    noise = Noise(range(len(x)))
    values = []
    for sigma in SIGMAS:
        t = sigma / 127.5
        error = (model.mean(x + t * noise(x), t).clamp(-1, 1) - x) / 2
        values.append(float((-10 * error.square().mean((1, 2, 3)).log10()).mean()))
    return [
        "| posterior mean at sigma | 15 | 25 | 50 |",
        "| --- | --- | --- | --- |",
        "| PSNR, dB | " + " | ".join(f"{value:.2f}" for value in values) + " |",
    ]


def map_table(model: BCM, x: Tensor) -> list[str]:
    """RMS distance from Heun's solution, also relative to the length of its path."""
    noise = Noise(range(len(x)))
    rows: dict[str, list[str]] = {
        "down to 0.002: f, RMS": [],
        "down: posterior mean, RMS": [],
        "down: f, share of the way": [],
        f"up from {START}: f, share of the way": [],
    }
    small = x + START * noise(x)
    for t in LEVELS:
        start = x + t * noise(x)
        truth = heun(model, start, t, model.sigma_min)
        one = model.denoise(start, t)
        rows["down to 0.002: f, RMS"].append(f"{rms(one - truth):.4f}")
        rows["down: posterior mean, RMS"].append(f"{rms(model.mean(start, t) - truth):.4f}")
        rows["down: f, share of the way"].append(f"{rms(one - truth) / rms(start - truth):.4f}")
        up = heun(model, small, START, t)
        rows[f"up from {START}: f, share of the way"].append(
            f"{rms(model.invert(small, START, t) - up) / rms(small - up):.4f}"
        )
    return [
        "| level | " + " | ".join(f"{t:g}" for t in LEVELS) + " |",
        "| --- " * (len(LEVELS) + 1) + "|",
        *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items()),
    ]


def round_trips(model: BCM, x: Tensor) -> list[str]:
    lines = [
        "| inversion via | NFE | standard deviation | per-pixel MSE after one evaluation back |",
        "| --- " * 4 + "|",
    ]
    for name, route in ROUTES.items():
        z, t = x + START * Noise(range(len(x)))(x), START
        for u in route:
            z, t = model.invert(z, t, u), u
        back = model.denoise(z, t)
        error = float(((back - x) / 2).square().mean())
        lines.append(f"| {name} | {len(route)} | {float(z.std()):.2f} | {error:.5f} |")
    return lines


def heun_trip(model: BCM, x: Tensor) -> list[str]:
    """The last row of the round trips: Heun's solution in both directions."""
    start = x + START * Noise(range(len(x)))(x)
    back = heun(model, heun(model, start, START, 80.0), 80.0, model.sigma_min)
    return [f"| 80, Heun {STEPS} + {STEPS} | {4 * STEPS} | | {float(((back - x) / 2).square().mean()):.5f} |"]


def samples(model: BCM, path: Path, side: int = 64, count: int = 8) -> None:
    """Writes rows of samples: in 1, 2 and 4 evaluations, and by Heun's method."""
    z = model.sigma_max * Noise(range(count))(torch.empty(count, 3, side, side))
    rows = []
    for route in ((), (2.4,), (10.0, 2.0, 0.5)):
        x, t = z, model.sigma_max
        for u in (*route, model.sigma_min):
            x, t = model.traverse(x, t, u), u
        rows.append(x)
    rows.append(heun(model, z, model.sigma_max, model.sigma_min))
    grid = torch.cat([torch.cat(list(row), 2) for row in rows], 1).clamp(-1, 1)
    pixels = ((grid.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    Image.fromarray(pixels).resize((2 * side * count, 2 * side * len(rows)), Image.Resampling.NEAREST).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=[weights.DEFAULT])
    parser.add_argument("--pictures", type=int, default=8, help="number of pictures to solve the ODE for")
    parser.add_argument("--without-heun", action="store_true", help="skip rows that need the ODE solution")
    parser.add_argument("--samples", type=Path, help="write samples of the first model to this file")
    options = parser.parse_args()
    x = crops(options.folder)
    for n, name in enumerate(options.model):
        model = weights.load_model(name, device="cpu")
        print(f"\n### {model.name}, {options.folder.name}\n")
        few = x[: options.pictures]
        tables = [(psnr_table(model, x), x)]
        if not options.without_heun:
            tables.append((map_table(model, few), few))
        trips = round_trips(model, few) + ([] if options.without_heun else heun_trip(model, few))
        for table, pictures in (*tables, (trips, few)):
            print("\n".join(table) + f"\n\n{len(pictures)} crops of 128x128.\n", flush=True)
        if options.samples and n == 0:
            samples(model, options.samples)


if __name__ == "__main__":
    main()
