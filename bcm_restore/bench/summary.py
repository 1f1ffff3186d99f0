"""Summarises outcomes as results.json, the data of a report."""

import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .base import Contestant
from .measures import Measure, fid_note
from .run import Bench, Outcome
from .statistics import mean_and_error, paired
from .store import Record

VERSION = 1  # of the layout
PACKAGES = (
    "bcm-restore",
    "torch",
    "numpy",
    "opencv-python",
    "pillow",
    "scikit-image",
    "lpips",
    "deepinv",
    "torch-fidelity",
)


def summarise(
    facts: dict[str, Any], bench: Bench, columns: dict[str, Measure], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """The results, in the form that `report.write` takes.

    Args:
        facts: task and command.
        bench: the bench that was run.
        columns: the metrics.
        outcomes: the outcome of each case, from `bench.run`.
    """
    return {
        "version": VERSION,
        **facts,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": bench.suite.seed,
        "data": bench.suite.data(),
        "versions": versions(),
        "hardware": hardware(bench.device),
        "metrics": {
            name: {"title": m.title, "unit": m.unit, "better": m.better, "missing": m.missing}
            for name, m in columns.items()
        },
        "contestants": [
            {"name": c.name, "family": c.family, "nfe": c.nfe, "identity": c.identity()} for c in bench.contestants
        ],
        "cases": [_case(outcome, bench, columns) for outcome in outcomes],
    }


def versions() -> dict[str, str]:
    """The versions of this package, of Python, and of the installed packages that the bench can use."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """The hardware that the times were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": str(device), "processor": name, "threads": torch.get_num_threads()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _case(outcome: Outcome, bench: Bench, columns: dict[str, Measure]) -> dict[str, Any]:
    participants = [contestant for contestant in bench.contestants if outcome.records.get(contestant.name)]
    rows = [_row(outcome, c, reference_of(c, participants), bench, columns) for c in participants]
    fid = columns.get("fid")
    note = fid_note(len(bench.suite.names)) if fid and not fid.missing else None
    return {"name": outcome.case.name, "notes": [*outcome.notes, *([note] if note else [])], "rows": rows}


def reference_of(contestant: Contestant, participants: Sequence[Contestant]) -> Contestant | None:
    """The contestant to compare with: BCM at the same NFE, else at the largest; None for that contestant itself."""
    ours = [one for one in participants if one.family == "BCM"]
    if not ours:
        return None
    best = max(ours, key=lambda one: one.nfe or 0)
    same = next((one for one in ours if one.nfe == contestant.nfe), best)
    return None if same is contestant else same


def _row(
    outcome: Outcome, contestant: Contestant, reference: Contestant | None, bench: Bench, columns: dict[str, Measure]
) -> dict[str, Any]:
    records = outcome.records[contestant.name]
    means: dict[str, float | None] = {}
    errors: dict[str, float | None] = {}
    for name in columns:
        values = [record.values[name] for record in records if name in record.values]
        means[name], errors[name] = mean_and_error(values) if values else (None, None)
    for name, of_set in (("fid", bench.fid), ("swd", bench.sliced_wasserstein)):
        if name in columns and not columns[name].missing:
            means[name] = of_set(outcome, contestant)
    timed = [record.seconds for record in records if record.seconds is not None]
    megapixels = sum(bench.pixels(record) for record in records) / 1e6
    memory = [record.peak_memory for record in records if record.peak_memory is not None]
    return {
        "contestant": contestant.name,
        "mean": means,
        "error": errors,
        "seconds": sum(timed) / len(timed) if timed else None,
        "megapixels_per_second": megapixels / sum(timed) if timed else None,
        "peak_memory": max(memory) if memory else None,
        "versus": _versus(records, reference, outcome, columns),
        "pictures": {
            record.picture: {**record.values, "seconds": record.seconds, "peak_memory": record.peak_memory}
            for record in records
        },
    }


def _versus(
    records: Iterable[Record], reference: Contestant | None, outcome: Outcome, columns: dict[str, Measure]
) -> dict[str, Any] | None:
    if reference is None:
        return None
    found: dict[str, Any] = {"against": reference.name}
    for name, measure in columns.items():
        own, other = (
            {record.picture: record.values[name] for record in some if name in record.values}
            for some in (records, outcome.records[reference.name])
        )
        if own.keys() & other.keys():
            found[name] = paired(own, other, measure.better)
    return found
