"""Runs the benches of benchmarks/recorded/ and records their results there, and their tables in benchmarks/bench.md.

    python benchmarks/record.py NAME [--data FOLDER] [-o FOLDER]     runs one, on the pictures inside scikit-image unless given
    python benchmarks/record.py                                      only writes the tables anew
"""

import argparse
import json
from pathlib import Path

from bcm_restore.bench import recorded
from bcm_restore.bench.report import markdown
from bcm_restore.cli.bench import benching, run

TABLES = Path(__file__).parent / "bench.md"


def record(name: str, data: Path | None, output: Path) -> None:
    results = run(benching(name, {"data": data, "output": output}))
    results["command"] = f"bcm-restore bench reproduce {name}" + (f" --data {data.name}" if data else "")
    target = recorded.folder() / name / f"{results['data']['name']}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(recorded.condensed(results), indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=recorded.names())
    parser.add_argument("--data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("bench_recorded"))
    options = parser.parse_args()
    if options.name:
        record(options.name, options.data, options.output)


if __name__ == "__main__":
    main()
