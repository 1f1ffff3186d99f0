"""The duration of a training step on this device: a row of benchmarks/training.md.

    python benchmarks/gpu_steps.py RECIPE DATA [--batch N]

Compiles first. Several instances may run at a time: a lock lets only one of them measure.
"""

import argparse
import dataclasses
import fcntl
import statistics
import tempfile
import time
from pathlib import Path

import torch

from bcm_restore.train import start
from bcm_restore.train.config import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    config = read_config(options.recipe)
    if options.batch:
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, batch=options.batch))
    config = start.with_options(config, sources=(options.data,))
    began = time.perf_counter()
    trainer = start.prepare(config, Path(tempfile.mkdtemp())).trainer
    prepared = time.perf_counter() - began
    trainer.step()
    compiled = time.perf_counter() - began - prepared
    synchronise = torch.cuda.synchronize if trainer.device.type == "cuda" else lambda: None
    seconds = []
    with Path(tempfile.gettempdir(), "gpu_steps.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for n in range(5 + options.steps):
            synchronise()
            began = time.perf_counter()
            terms = trainer.step()
            synchronise()
            if n >= 5:
                seconds.append(time.perf_counter() - began)
    step = statistics.median(seconds)
    losses = ", ".join(f"{name} {value:.4f}" for name, value in terms.items())
    memory = torch.cuda.max_memory_allocated() / 2**30 if trainer.device.type == "cuda" else 0
    print(
        f"| {options.recipe.stem} | {config.run.batch} x {config.data.crop}^2 | {1000 * step:.1f} ms "
        f"| {config.run.batch / step:.0f} crops/s | first step {compiled:.0f} s, reading {prepared:.0f} s "
        f"| {memory:.1f} GiB | {losses} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
