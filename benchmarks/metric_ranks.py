"""How each metric ranks the contestants of a bench: benchmarks/metric_ranks.md.

    bcm-restore bench --task inpaint --data FOLDER --nfe 1,4 --solvers ddnm,diffpir
    python benchmarks/metric_ranks.py bench_inpaint ...

The last line is Kendall's tau between each metric's order and that of PSNR: 1 if they agree, -1 if they are reversed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from scipy import stats


def ranks(rows: list[dict[str, Any]], key: str, better: str) -> list[int]:
    """The rank of each row, 1 for the best."""
    sign = -1 if better == "higher" else 1
    return [int(rank) for rank in stats.rankdata([sign * row["mean"][key] for row in rows], "min")]


def table(results: dict[str, Any], case: dict[str, Any]) -> str:
    metrics = {
        key: metric
        for key, metric in results["metrics"].items()
        if all(row["mean"].get(key) is not None for row in case["rows"])
    }
    found = {key: ranks(case["rows"], key, metric["better"]) for key, metric in metrics.items()}
    lines = [f"| {results['task']}, {case['name']} | {' | '.join(metric['title'] for metric in metrics.values())} |"]
    lines.append("| --- " * (len(metrics) + 1) + "|")
    for n, row in enumerate(case["rows"]):
        digits = {key: 4 if abs(row["mean"][key]) < 2 else 2 for key in metrics}
        cells = [f"{found[key][n]} ({row['mean'][key]:.{digits[key]}f})" for key in metrics]
        lines.append(f"| {row['contestant']} | {' | '.join(cells)} |")
    taus = [stats.kendalltau(found[next(iter(metrics))], found[key]).statistic for key in metrics]
    return "\n".join([*lines, f"| tau | {' | '.join(f'{tau:.2f}' for tau in taus)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        for case in results["cases"]:
            print(table(results, case), end="\n\n")


if __name__ == "__main__":
    main()
