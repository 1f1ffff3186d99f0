"""Runs the benches of benchmarks/recorded/, records their results there, and writes their tables: benchmarks/bench.md.

python benchmarks/record.py NAME ... --data FOLDER     runs these benches; without --data, on scikit-image's pictures
python benchmarks/record.py                            only rewrites the tables
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bcm_restore.bench import recorded
from bcm_restore.bench.assembly import recorded_settings, run

TABLES = Path(__file__).parent / "bench.md"
INTRODUCTION = """# The bench on this package's pictures and on public sets

```sh
bcm-restore bench reproduce NAME --data FOLDER
```

Means over the pictures of a set, one table per bench and set. The best value of a column is bold. All other
measurements (other metrics, standard errors, differences to BCM with their intervals, seconds, memory) are in
[recorded/](recorded). Seconds and memory were measured beside other work and are not comparable. LPIPS and FID are
not measured, as their networks could not be downloaded. I2SB and Palette, trained here, are in
[supervised.md](supervised.md).

BCM, as in use, looks for noise in a small picture and removes it; the other solvers are given the picture as it is.
"""


def record(name: str, data: Path | None) -> None:
    output = Path("bench_recorded") / f"{name}_{data.name if data else 'scikit-image'}"
    results = run(recorded_settings(name, data=data, output=output))
    results["command"] = f"bcm-restore bench reproduce {name}" + (f" --data {data.name}" if data else "")
    target = recorded.folder() / name / f"{results['data']['name']}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(recorded.condensed(results), indent=1) + "\n", encoding="utf-8")


def tables() -> str:
    parts = [INTRODUCTION]
    for name in recorded.names():
        for pictures in recorded.data(name):
            parts.append(table(name, recorded.results(name, pictures)))
    return "\n".join(parts)


def table(name: str, results: dict[str, Any]) -> str:
    """A table of contestants by case, and the columns where BCM is not the best."""
    data, columns = results["data"], columns_of(results)
    best = {title: better(values, key=values.__getitem__) for title, (values, better) in columns.items()}
    lines = [
        f"## {name}, {data['name']} ({len(data['pictures'])} pictures, size {data['size']})\n",
        f"    {results['command']}\n",
        f"| contestant | {' | '.join(columns)} |",
        "| --- " * (len(columns) + 1) + "|",
    ]
    for row in results["cases"][0]["rows"]:
        who = row["contestant"]
        cells = [cell(values.get(who), best[title] == who) for title, (values, _) in columns.items()]
        lines.append(f"| {who} | {' | '.join(cells)} |")
    lost = [f"{title} ({who})" for title, who in best.items() if not who.startswith("BCM, ")]
    lines.append(f"\nBCM is not the best in: {', '.join(lost)}.\n" if lost else "\nBCM is the best in every column.\n")
    return "\n".join(lines)


def columns_of(results: dict[str, Any]) -> dict[str, tuple[dict[str, float], Any]]:
    """Values by contestant, and max or min: both metrics for interpolation, else one metric per case."""
    metrics, cases = results["metrics"], results["cases"]
    if results["task"] == "interpolate":
        chosen = [(cases[0], metric, metrics[metric]["title"]) for metric in metrics]
    else:
        metric = "psnr_hole" if results["task"] == "inpaint" else "psnr"
        chosen = [(case, metric, f"{case['name']}, {metrics[metric]['title']}") for case in cases]
    return {
        title: (
            {row["contestant"]: row["mean"][metric] for row in case["rows"]},
            max if metrics[metric]["better"] == "higher" else min,
        )
        for case, metric, title in chosen
    }


def cell(value: float | None, best: bool) -> str:
    text = "" if value is None else f"{value:.2f}"
    return f"**{text}**" if best else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    for name in options.names:
        record(name, options.data)
    TABLES.write_text(tables(), encoding="utf-8")


if __name__ == "__main__":
    main()
