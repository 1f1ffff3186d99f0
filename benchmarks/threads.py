"""The cost of waiting threads: a command's duration, alone and beside other load, by OpenMP's wait policy.

    python benchmarks/threads.py [--rounds 5] [--picture FILE] [--nfe 4]

Threads that finish their part of a loop wait for the others. By default they spin, which takes a core from other
processes, and from the very thread that they wait for; with `OMP_WAIT_POLICY=PASSIVE`, which the command sets, they
sleep. The other load is one busy process per core. The policies alternate; seconds are the minimum over all rounds.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
COMMAND = ["-m", "bcm_restore"]
WITHOUT = ["-c", "from bcm_restore.cli import app; app()"]  # does not set the wait policy
WAYS = {
    "spinning (OpenMP's default)": (WITHOUT, []),
    "sleeping (the command's)": (COMMAND, []),
    "one (--threads 1)": (COMMAND, ["--threads", "1"]),
}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Runs `count` processes that only use CPU time."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(picture: Path, nfe: int, start_with: list[str], options: list[str]) -> float:
    """The seconds of restoring, from the command's report: without Python's start-up."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *start_with, "jpeg-restore", str(picture), "-o", f"{folder}/out.png", "--json"]
        done = subprocess.run([*command, "--nfe", str(nfe), *options], env=plain, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["files"][0]["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=EXAMPLES / "coffee_quality10.jpg")
    parser.add_argument("--nfe", type=int, default=4)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    taken: dict[str, dict[str, float]] = {}
    for others in (0, cores):
        with busy(others):
            for _ in range(options.rounds):
                for name, way in WAYS.items():
                    found = taken.setdefault(name, {})
                    key = "busy" if others else "idle"
                    found[key] = min(found.get(key, float("inf")), seconds(options.picture, options.nfe, *way))
                    print(name, key, f"{found[key]:.1f}", file=sys.stderr, flush=True)
    first = taken[next(iter(WAYS))]
    print(f"\n{cores} cores, the least of {options.rounds} rounds\n")
    print(
        "| threads | by itself, s | ratio | beside a busy process a core, s | ratio |\n| --- | --- | --- | --- | --- |"
    )
    for name, found in taken.items():
        cells = [f"{found[key]:.1f} | {found[key] / first[key]:.2f}" for key in ("idle", "busy")]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
