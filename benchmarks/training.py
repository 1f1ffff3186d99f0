"""Trains as `bcm-restore train` does, on machines without typer: benchmarks/gpu.sh and benchmarks/supervised.py.

    python benchmarks/training.py RECIPE.toml --data FOLDER|FILE.tar ... -o FOLDER [--minutes N | --images N]

Needs torch, torchvision, NumPy, Pillow and safetensors; for a [damage], OpenCV. A run that was stopped resumes.
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import safetensors  # noqa: F401  # saves the model; better missed before training than after
import torch

from bcm_restore.errors import RestoreError
from bcm_restore.train import checkpoints, start
from bcm_restore.train.config import Config, read_config
from bcm_restore.train.damage import Pairs
from bcm_restore.train.data import Crops
from bcm_restore.train.records import Log
from bcm_restore.train.trainer import Status, Trainer

EVERY = 10.0  # seconds between lines


def train(config: Config, folder: Path, device: str = "auto", images: Crops | Pairs | None = None) -> Trainer:
    """Trains into a folder, from its checkpoint if there is one; `images`: see `start.prepare`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.compiler.reset()  # there is a limit to how often a process compiles a module
    prepared = start.prepare(config, folder, device, images)
    trainer, resume = prepared.trainer, (folder / checkpoints.CHECKPOINT).exists()
    if resume:
        trainer.resume()
    print(f"{folder}: {prepared.pictures} pictures, {trainer.device}, from step {trainer.steps}", flush=True)
    log, last = Log(folder, resume), -EVERY

    def report(status: Status) -> None:
        nonlocal last
        log(status)
        if status.scores or status.progress >= 1 or status.seconds - last >= EVERY:
            last = status.seconds
            values = {**status.losses, **status.scores}
            line = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(f"{status.progress:.0%}, step {status.step}, {status.speed:.0f} images/s, {line}", flush=True)

    def stop(number: int, frame: Any) -> None:
        trainer.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        trainer.run(report)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return trainer


def add_budget(parser: argparse.ArgumentParser, minutes: float | None = None) -> None:
    """Adds --minutes and --images."""
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=minutes, help="of each run, compilation included")
    budget.add_argument("--images", type=int, help="that each run sees, in whole batches")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    add_budget(parser)
    options = parser.parse_args()
    try:
        budget = {"minutes": options.minutes, "images": options.images}
        config = start.with_options(read_config(options.recipe), sources=tuple(options.data), **budget)
        train(config, options.output, options.device)
    except RestoreError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
