"""I2SB and Palette beside BCM, with the same network, data, crops and budget: benchmarks/supervised.md.

    python benchmarks/supervised.py train RUNS --data FOLDER|FILE.tar ... [--minutes 8 | --images N] [--start MODEL]
    python benchmarks/supervised.py bench RUNS --data FOLDER ...
    python benchmarks/supervised.py table RUNS

`train` makes one BCM (flow map, without a teacher), and an I2SB and a Palette for each of three tasks: free-form and
box holes, JPEG quality 5 to 40, super-resolution x4. With `--images` all of them see the same number of images. With
`--start`, that model is the BCM, and the others are trained from its weights. A run that is complete is skipped, one
that was stopped resumes. It needs what benchmarks/training.py needs, and OpenCV.
`bench` compares them with BCM's default schemes at equal NFE: on the damage that they were trained for, and on other
damage of the same task, which BCM does not know either. `table` only writes the tables, as `bench` does at its end.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import cv2  # noqa: F401  # draws the masks; better missed before training than after
import torch
from PIL import Image
from training import add_budget, train

from bcm_restore import weights
from bcm_restore.errors import RestoreError
from bcm_restore.model import choose_device
from bcm_restore.supervised import I2SB, Palette
from bcm_restore.train import start
from bcm_restore.train.config import make_config, tomllib
from bcm_restore.train.trainer import MODEL, Diverged

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
OTHER = {
    "inpaint": ["thin-strokes", "text", "random-50", "random-80", "half", "box-noise-5"],
    "jpeg": ["quality-3", "quality-60"],
    "super-resolve": ["x2", "x3", "x8", "x4-pool", "x4-noise-5", "x4-jpeg-60"],
}
KINDS = {"trained": TRAINED, "other": OTHER}
NFES = (1, 2, 4, 8)
METRICS = {"psnr": 2, "ssim": 4, "ssimulacra2": 2, "flip": 4, "haarpsi": 4}  # and their decimals
BCM, RECIPE, DONE = "bcm", "recipe.json", "done.json"


def recipe(objective: str, task: str | None, changed: dict[str, Any]) -> dict[str, Any]:
    """The tables of a training run from scratch, some of their values changed."""
    network = weights.read(weights.find(weights.SMALL))[0]
    tables = {
        "network": {"architecture": network["architecture"], **network["config"]},
        "data": {"crop": 96, "held_out": 8},
        "objective": {"name": objective, "maps": 0.0},
        "damage": {"task": task, "cases": DAMAGE.get(task or "", []), "pairs": 50_000},
        "optimizer": {"muon": 0.02, "adamw": 0.001, "hold": 0.5, "ema": [0.998]},
        "run": {"batch": 128, "validate": 5.0},
    }
    tables = {name: table | changed.get(name, {}) for name, table in tables.items()}
    return tables if task else {name: table for name, table in tables.items() if name != "damage"}


def train_all(options: argparse.Namespace) -> None:
    changed = tomllib.loads(options.recipe.read_text(encoding="utf-8")) if options.recipe else {}
    models = [(objective, task) for task in DAMAGE for objective in ("i2sb", "palette")]
    recipes = {
        options.runs / (f"{objective}-{task}" if task else BCM): recipe(objective, task, changed) | budget(options)
        for objective, task in ([] if options.start else [("flow-map", None)]) + models
    }
    if options.start:
        for tables in recipes.values():
            tables["start"] = options.start
            del tables["network"]
    for folder, tables in recipes.items():
        note(folder / RECIPE, tables)
    pairs, failed = None, False
    for folder, tables in recipes.items():
        if (folder / DONE).exists():
            continue
        pairs = pairs if tables["objective"]["name"] == "palette" else None  # those of I2SB, which are the same
        try:
            pairs = train_one(tables, folder, options, pairs)
        except Diverged as error:  # the time of the others is not lost
            print(f"error: {folder}: {error}", file=sys.stderr, flush=True)
            failed = True
    sys.exit(failed)


def budget(options: argparse.Namespace) -> dict[str, Any]:
    given = {"minutes": options.minutes} if options.images is None else {"images": options.images}
    return {"budget": given}


def note(path: Path, tables: dict[str, Any]) -> None:
    """Writes the recipe, or checks that it is that of the run that is there."""
    text = json.dumps(tables, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise RestoreError(f"{path}: another recipe or budget; remove the folder, or give another RUNS")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def train_one(tables: dict[str, Any], folder: Path, options: argparse.Namespace, pairs: Any) -> Any:
    """Trains one model and notes what it took; returns its images."""
    device = choose_device(options.device)
    run = tables["run"] | {"steps": 1, "compile": device.type == "cuda"}  # the budget replaces `steps`
    document = {name: table for name, table in tables.items() if name != "budget"} | {"run": run}
    config = start.with_options(make_config(document), sources=tuple(options.data), **tables["budget"])
    trainer = train(config, folder, options.device, pairs)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    facts = {"images": trainer.steps * config.run.batch, "minutes": trainer.seconds / 60, "device": name}
    (folder / DONE).write_text(json.dumps(facts), encoding="utf-8")
    return trainer.crops


def bench_all(options: argparse.Namespace) -> None:
    from bcm_restore.bench.assembly import BenchSettings, run

    for data in map(Path, options.data):
        for task in DAMAGE:
            others = [str(options.runs / f"{name}-{task}" / MODEL) for name in ("i2sb", "palette")]
            for kind, cases in KINDS.items():
                output = options.runs / f"bench-{task}-{kind}-{data.resolve().name}"
                print(output, flush=True)
                settings = {"limit": options.limit, "size": side(data), "nfe": NFES, "device": options.device}
                models = [started(options.runs) or str(options.runs / BCM / MODEL), *others]
                run(BenchSettings(task=task, data=data, case=cases[task], model=models, output=output, **settings))


def started(runs: Path) -> str | None:
    """The name or file of the BCM that the runs started from; None: from scratch."""
    starts = [json.loads(path.read_text(encoding="utf-8")).get("start") for path in sorted(runs.glob(f"*/{RECIPE}"))]
    return next(filter(None, starts), None)


def side(folder: Path) -> int:
    """The side of the crops: 256, or 64 for small pictures."""
    sizes = [Image.open(path).size for path in folder.iterdir() if path.suffix.lower() in Image.registered_extensions()]
    return 256 if sizes and min(map(min, sizes)) >= 128 else 64


def tables(runs: Path) -> str:
    """The report: how the models were trained, and tables of each task on each set of pictures."""
    text = __doc__ or ""
    parts = ["# Models that are trained for one kind of damage, beside BCM", "```sh\n" + commands(text) + "\n```"]
    start = started(runs)
    parts.append(STARTED.format(start=start) if start else SCRATCH)
    parts.append(training(runs))
    found = list(benches(runs))
    parts.append(summary(found))
    for task, name, results in found:
        parts += [f"## {task}, {name}", facts(results), means(results), by_case(task, results)]
    return "\n\n".join(parts) + "\n"


SCRATCH = """All models have the network of bcm-photo-small, and were trained from scratch by the same optimizer with
batches of the same size. BCM is one model for all tasks, trained on clean crops alone; I2SB and Palette are one model a
task, trained on a pool of damaged crops."""

STARTED = """All models have the same network and begin with the weights of {start}. That model is the BCM: one for all
tasks, trained on clean crops alone. I2SB and Palette are one model a task; to its training they add that of the table,
on a pool of damaged crops, so that they have seen all that BCM has, and the damage. The tables show what this training
gives; longer training may give more. --recipe benchmarks/recipes/supervised.toml is for a CPU."""


COMPARED = """PSNR over that of BCM at the same NFE, in dB, mean over all sets of pictures and cases. "Trained" is the
damage that I2SB and Palette were trained for, "other" is other damage of the same task, which no model was trained for.
In all tables cells are trained / other."""


def benches(runs: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The task, the name of the pictures and the results, for trained and other damage, of each bench."""
    for task in DAMAGE:
        for folder in sorted(runs.glob(f"bench-{task}-trained-*")):
            name = folder.name.removeprefix(f"bench-{task}-trained-")
            found = {kind: folder.with_name(f"bench-{task}-{kind}-{name}") / "results.json" for kind in KINDS}
            if all(path.exists() for path in found.values()):
                yield task, name, {kind: json.loads(path.read_text(encoding="utf-8")) for kind, path in found.items()}


def summary(found: list[tuple[str, str, dict[str, Any]]]) -> str:
    """PSNR over BCM's at equal NFE, mean over sets of pictures and cases; a row for each model and task."""
    lines = [
        COMPARED,
        "",
        f"| | {' | '.join(f'NFE {nfe}' for nfe in NFES)} |",
        "| --- " * (len(NFES) + 1) + "|",
    ]
    for task in DAMAGE:
        sets = [results for name, _, results in found if name == task]
        for label in (I2SB.label, Palette.label):
            cells = []
            for nfe in NFES:
                gains = [mean(mean(over_bcm(one[kind], label, nfe)) for one in sets) for kind in KINDS] if sets else []
                cells.append(" / ".join(f"{gain:+.2f}" for gain in gains))
            lines.append(f"| {label}, {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def over_bcm(results: dict[str, Any], label: str, nfe: int) -> list[float]:
    """The mean PSNR of I2SB or Palette over that of BCM, in dB, of each case."""
    differences = []
    for case in results["cases"]:
        psnr = {row["contestant"].split()[0].rstrip(","): row["mean"]["psnr"] for row in at_nfe(case, nfe)}
        differences.append(psnr[label] - psnr["BCM"])
    return differences


def at_nfe(case: dict[str, Any], nfe: int) -> list[dict[str, Any]]:
    return [row for row in case["rows"] if row["contestant"].endswith(f", NFE {nfe}")]


def commands(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.startswith("    python"))


def training(runs: Path) -> str:
    """A row for each model."""
    lines = ["| model | images | minutes | on |", "| --- | --- | --- | --- |"]
    for path in sorted(runs.glob(f"*/{DONE}")):
        done = json.loads(path.read_text(encoding="utf-8"))
        lines.append(f"| {path.parent.name} | {done['images']:,} | {done['minutes']:.1f} | {done['device']} |")
    return "\n".join(lines)


def facts(results: dict[str, Any]) -> str:
    data = results["trained"]["data"]
    cases = {kind: ", ".join(case["name"] for case in one["cases"]) for kind, one in results.items()}
    crops = "" if data["size"] == "native" else f", {data['size']}x{data['size']} crops"
    return f"{len(data['pictures'])} pictures{crops}. Trained: {cases['trained']}. Other: {cases['other']}."


def means(results: dict[str, Any]) -> str:
    """Rows of contestants, columns of metrics, trained and other damage side by side."""
    metrics = [name for name in METRICS if not results["trained"]["metrics"][name]["missing"]]
    head = [results["trained"]["metrics"][name]["title"] for name in metrics]
    lines = [f"| | {' | '.join(head)} |", "| --- " * (len(head) + 1) + "|"]
    for name in contestants(results):
        cells = []
        for metric in metrics:
            both = [[row["mean"][metric] for row in rows(one, name)] for one in results.values()]
            cells.append(" / ".join(f"{mean(values):.{METRICS[metric]}f}" for values in both))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_case(task: str, results: dict[str, Any]) -> str:
    """PSNR of each case; in the hole, where there is one."""
    metric = "psnr_hole" if task == "inpaint" else "psnr"
    title = results["trained"]["metrics"][metric]["title"]
    cases = [case["name"] for one in results.values() for case in one["cases"]]
    lines = [f"| {title}, dB | {' | '.join(cases)} |", "| --- " * (len(cases) + 1) + "|"]
    for name in contestants(results):
        cells = [f"{row['mean'][metric]:.2f}" for one in results.values() for row in rows(one, name)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def contestants(results: dict[str, Any]) -> list[str]:
    """Those that took part in all cases, in the order of the bench."""
    names = [row["contestant"] for row in results["trained"]["cases"][0]["rows"]]
    count = sum(len(one["cases"]) for one in results.values())
    return [name for name in names if sum(len(rows(one, name)) for one in results.values()) == count]


def rows(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for case in results["cases"] for row in case["rows"] if row["contestant"] == name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "bench", "table"])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", action="append", default=[], help="repeatable")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--start", help="train: name or file of a BCM to start from")
    parser.add_argument("--recipe", type=Path, help="train: TOML whose values replace those of the recipes")
    parser.add_argument("--limit", type=int, help="bench: only the first N pictures")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"), help="the tables' file")
    add_budget(parser, 8.0)
    options = parser.parse_args()
    if options.what != "table" and not options.data:
        parser.error("--data is needed")
    try:
        if options.what == "train":
            train_all(options)
        if options.what == "bench":
            bench_all(options)
        options.table.write_text(tables(options.runs), encoding="utf-8")
    except RestoreError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
