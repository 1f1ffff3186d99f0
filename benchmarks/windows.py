"""Blended windows of AdmUNet: the visibility of their borders by overlap, and the cost of a batch of windows.

    python benchmarks/windows.py seams
    python benchmarks/windows.py batches

`seams` runs random networks on crops of a photograph: the mean step between neighbouring pixels across the borders of
windows, and in the middle of the overlap of two windows, relative to the mean step elsewhere. The outer quarter of a
window along the picture's border is excluded, because padding roughens it with or without windows. `batches` runs the
published network with random weights, each batch size in a separate process.
"""

import argparse
import itertools
import resource
import subprocess
import sys
import time
from pathlib import Path

import skimage.data
import torch

from bcm_restore.model import BCM
from bcm_restore.networks import AdmUNet, WindowedNetwork
from bcm_restore.networks.windowed import _starts

SIZE = 64
RIM = SIZE // 4
LEVELS = ((0.07, 80.0), (0.5, 0.002), (80.0, 0.002))
PLACES = ((20, 20), (20, 180), (40, 100))  # of the crops


def network(seed: int) -> AdmUNet:
    """A small network with random weights and outputs of a standard deviation of about 1."""
    torch.manual_seed(seed)
    net = AdmUNet(32, (1, 2, 2), blocks=1, attention=(1, 2), classes=0, head_channels=32)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    net.out[2].weight.data *= 2
    return net


def contrasts(overlap: int, t: float, u: float, seeds: int) -> tuple[float, float]:
    """The steps at window borders and in the middles of overlaps, relative to those elsewhere."""
    side = 4 * SIZE - 3 * overlap - (overlap > 0)  # one less, so that borders are on even and on odd columns
    photo = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1) / 127.5 - 1
    crops = torch.stack([photo[:, y : y + side, x : x + side] for y, x in PLACES])
    starts = _starts(side, SIZE, overlap)
    borders = [place - 1 for start in starts for place in (start, start + SIZE) if 0 < place < side]
    middles = [(start + SIZE + following) // 2 - 1 for start, following in itertools.pairwise(starts)]
    elsewhere = sorted(set(range(RIM, side - RIM - 1)) - {*borders, *middles})
    steps = torch.zeros(side - 1)
    for seed in range(seeds):
        moved = BCM(WindowedNetwork(network(seed), overlap), device="cpu").traverse(
            crops + t * torch.randn(crops.shape), t, u
        )
        for picture in (moved, moved.mT):
            steps += picture.diff(dim=3).abs().mean((0, 1, 2))
    border, middle, rest = (steps[places].mean().item() for places in (borders, middles, elsewhere))
    return border / rest, middle / rest


def seams(overlaps: list[int], seeds: int) -> None:
    print("| overlap | " + " | ".join(f"{t:g} to {u:g}" for t, u in LEVELS) + " |\n| --- |" + " --- |" * len(LEVELS))
    for overlap in overlaps:
        cells = ["{:.2f}, {:.2f}".format(*contrasts(overlap, t, u, seeds)) for t, u in LEVELS]
        print(f"| {overlap} | " + " | ".join(cells) + " |", flush=True)


def peak() -> float:
    """The peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def batch(windows: int) -> None:
    """Prints the row for a batch of `windows` windows."""
    net = AdmUNet().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    for parameter in net.parameters():  # zeros could be faster
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    x = torch.randn(windows, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    levels = torch.full((windows,), 0.3), torch.full((windows,), 2.0)
    before, seconds = peak(), []
    for _ in range(max(3, 12 // windows)):
        start = time.process_time()
        net(x, *levels)
        seconds.append(time.process_time() - start)
    added = peak() - before
    print(f"| {windows} | {added:.0f} | {added / windows:.0f} | {min(seconds) / windows:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["seams", "batches"])
    parser.add_argument("--overlaps", type=int, nargs="+", default=[0, 4, 8, 16, 24, 32])
    parser.add_argument("--seeds", type=int, default=3, help="number of random networks to average over")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch:
        batch(options.batch)
    elif options.what == "seams":
        seams(options.overlaps, options.seeds)
    else:
        print("| windows at once | MiB above the network's own | MiB a window | seconds of CPU a window |", flush=True)
        print("| --- | --- | --- | --- |", flush=True)
        for windows in options.batches:
            subprocess.run([sys.executable, Path(__file__), "batches", "--batch", str(windows)], check=True)


if __name__ == "__main__":
    main()
