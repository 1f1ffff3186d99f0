"""I2SB and Palette beside BCM: the same network, data, crops and minutes of training.

    python benchmarks/supervised.py train RUNS --data FOLDER --minutes 8 [--device cuda]
    python benchmarks/supervised.py bench RUNS --data FOLDER ...

`train` makes one BCM (flow map, without a teacher), and an I2SB and a Palette for each of three tasks: free-form and
box holes, JPEG quality 5 to 40, super-resolution x4. A run that is complete is skipped, one that was stopped resumes.
`bench` compares them with BCM's default schemes at equal NFE: on the damage that they were trained for, and on other
damage of the same task, which BCM does not know either.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from bcm_restore import weights
from bcm_restore.train import checkpoints

DAMAGE = {
    "inpaint": ["freeform-20-30", "box"],
    "jpeg": ["quality-5-40"],
    "super-resolve": ["x4"],
}
TRAINED = {
    "inpaint": ["freeform-20-30", "box"],
    "jpeg": ["quality-5", "quality-10", "quality-20", "quality-40"],
    "super-resolve": ["x4"],
}
OTHER = {"inpaint": ["random-80", "text", "half"], "jpeg": [], "super-resolve": ["x2", "x4-pool", "x8"]}
NFES = "1,2,4,8"


def recipe(objective: str, task: str | None, minutes: float) -> dict[str, Any]:
    """The tables of a training run."""
    network = weights.read(weights.find(weights.SMALL))[0]
    damage = {} if task is None else {"damage": {"task": task, "cases": DAMAGE[task], "pairs": 100_000}}
    return {
        "network": {"architecture": network["architecture"], **network["config"]},
        "data": {"crop": 96, "held_out": 8},
        "objective": {"name": objective, "maps": 0.0},
        **damage,
        "optimizer": {"muon": 0.02, "adamw": 0.001, "hold": 0.5, "ema": [0.998]},
        "run": {"minutes": minutes, "batch": 128, "validate": 5.0},
    }


def written(tables: dict[str, Any]) -> str:
    """Tables of strings, numbers and lists as TOML."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {toml(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def train(options: argparse.Namespace) -> None:
    runs = [("flow-map", None), *((objective, task) for task in DAMAGE for objective in ("i2sb", "palette"))]
    for objective, task in runs:
        folder = options.runs / (f"{objective}-{task}" if task else "bcm")
        done = folder / "done"
        if done.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "recipe.toml"
        config.write_text(written(recipe(objective, task, options.minutes)))
        resume = ["--resume"] if (folder / checkpoints.CHECKPOINT).exists() else []
        command(["train", config, "--data", options.data, "-o", folder, "--device", options.device, *resume])
        done.touch()


def bench(options: argparse.Namespace) -> None:
    for task in DAMAGE:
        models = [options.runs / "bcm", *(options.runs / f"{name}-{task}" for name in ("i2sb", "palette"))]
        chosen = [argument for folder in models for argument in ("--model", folder / "model.safetensors")]
        for kind, cases in (("trained", TRAINED[task]), ("other", OTHER[task])):
            picked = [argument for case in cases for argument in ("--case", case)]
            out = options.runs / f"bench-{task}-{kind}"
            if cases:
                command(["bench", "--task", task, "--data", options.data, "--nfe", NFES, *picked, *chosen, "-o", out])


def command(arguments: list[Any]) -> None:
    subprocess.run([sys.executable, "-m", "bcm_restore", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "bench"])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    {"train": train, "bench": bench}[options.what](options)


if __name__ == "__main__":
    main()
