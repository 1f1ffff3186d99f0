"""The outcomes for malformed and malicious files: the tables of benchmarks/fuzz.md.

    python benchmarks/fuzz.py --count 3000 --commands 300 --keep failures/

Each file is read as a picture, as a mask and for its JPEG coefficients, by workers that may use 2 GiB beyond their
imports and 10 seconds of CPU time per reading; some are upscaled by the command line. Every file should end in a result
or a one-line error, and nothing should be written outside the output folder.
"""

import argparse
import collections
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hostile

from bcm_restore.errors import RestoreError

LIMIT, SECONDS, PATIENCE, BATCH = 2 << 30, 10, 120, 20
GOOD = ("result", "one line")
BAD = ("traceback", "hang", "memory", "crash", "other output")
Counts = dict[str, collections.Counter[str]]


class Verdict(NamedTuple):
    outcome: str
    seconds: float = 0.0
    mebibytes: float = 0.0
    message: str = ""


# In the worker


def work() -> None:
    """Reads file names from stdin, and writes a line of JSON for each."""
    import cv2  # noqa: F401
    import jpeglib  # noqa: F401

    from bcm_restore import images

    warm = Path(sys.argv[2])  # a file for the warm-up: triggers lazy imports
    attempt(warm, images)
    limit = _status("VmSize") + LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        verdict = attempt(Path(json.loads(line)), images)
        peak = max(_status("VmHWM") - before, 0)
        print(json.dumps(verdict._replace(mebibytes=peak / 2**20)), flush=True)


def attempt(path: Path, images: Any) -> Verdict:
    """The worst outcome of the readers for a file, and the longest CPU time."""
    from bcm_restore import masks

    outcome, message, longest = "result", "", 0.0
    for reader in (images.read, masks.read, images.jpeg_coefficients):
        start = time.process_time()
        try:
            reader(path)
        except RestoreError as error:
            message = str(error)
            if "computer's memory" in message or "Insufficient memory" in message:
                return Verdict("memory", message=message)
            if not message.isprintable() or path.name not in message:
                return Verdict("other output", message=message)
            outcome = "one line"
        except BaseException as error:
            return Verdict("traceback", message=f"{reader.__name__}: {error!r}")
        longest = max(longest, time.process_time() - start)
    return Verdict("hang" if longest > SECONDS else outcome, longest, message=message)


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


# Around the workers


class Worker:
    """A process that reads one file after another, and is restarted when it dies."""

    def __init__(self, warm: Path) -> None:
        self.warm, self.process = warm, None

    def judge(self, path: Path) -> Verdict:
        if self.process is None:
            command = [sys.executable, __file__, "--worker", str(self.warm)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        # generous: the limit is on CPU time, not wall time, and the first answer includes the imports
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.stop()
            return Verdict("hang", PATIENCE)
        answer = self.process.stdout.readline()
        if not answer:
            status = self.process.wait()
            self.stop()
            return Verdict("crash", message=f"status {status}")
        return Verdict(*json.loads(answer))

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None


def files(count: int, seed: int, large: bool) -> Iterator[hostile.Seed]:
    """Yields the traps, then damaged files, evenly from all kinds."""
    yield from hostile.traps()
    if large:
        yield from hostile.large()
    kinds, rng = hostile.seeds(), random.Random(seed)
    for n in range(count):
        name, content = kinds[n % len(kinds)]
        suffix = name.rpartition(".")[2]
        other = rng.choice([data for each, data in kinds if each.endswith(suffix)])
        yield f"{n:05}_{name}", hostile.damaged(name, content, other, rng)


def read_all(found: Iterable[hostile.Seed], root: Path, keep: Path | None) -> tuple[Counts, list[Path]]:
    """Reads all files; returns counts by format, and the small files for the command line."""
    folder = root / "files"
    warm = folder / "warm.jpg"
    warm.write_bytes(dict(hostile.seeds())["rgb.jpg"])
    worker, counts, small = Worker(warm), collections.defaultdict(collections.Counter), []
    slowest, largest = Verdict("", 0), Verdict("", 0)
    for name, content in found:
        path = folder / name
        path.write_bytes(content)
        verdict = worker.judge(path)
        counts[path.suffix[1:]][verdict.outcome] += 1
        named = verdict._replace(message=f"{name}: {verdict.message}")
        slowest = max(slowest, named, key=lambda v: v.seconds)
        largest = max(largest, named, key=lambda v: v.mebibytes)
        if verdict.outcome not in GOOD:
            note(named, content, keep)
        if name[0].isdigit():
            small.append(path)
        else:
            path.unlink()
    worker.stop()
    print(f"slowest: {slowest.seconds:.1f} s, {slowest.message or 'ok'}")
    print(f"largest: {largest.mebibytes:.0f} MiB, {largest.message or 'ok'}")
    return counts, small


def note(verdict: Verdict, content: bytes, keep: Path | None) -> None:
    print(f"{verdict.outcome}: {verdict.message}", file=sys.stderr, flush=True)
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / verdict.message.partition(":")[0]).write_bytes(content)


# The command line


def enlarge_all(paths: list[Path], root: Path, keep: Path | None) -> Counts:
    """Runs `super-resolve` on batches of files; returns counts by format."""
    counts: Counts = collections.defaultdict(collections.Counter)
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        verdicts = _enlarge(batch, root)
        if verdicts is None:  # the command died: repeat one by one to find the file
            verdicts = [(_enlarge([path], root) or [Verdict("crash")])[0] for path in batch]
        for path, verdict in zip(batch, verdicts, strict=True):
            counts[path.suffix[1:]][verdict.outcome] += 1
            if verdict.outcome not in GOOD:
                note(verdict._replace(message=f"{path.name}: {verdict.message}"), path.read_bytes(), keep)
    return counts


def _enlarge(batch: list[Path], root: Path) -> list[Verdict] | None:
    """The outcome for each file; None if the command did not finish."""
    with tempfile.TemporaryDirectory(dir=root) as out:
        before = tree(root, Path(out))
        command = ["super-resolve", "--scale", "2", "--nfe", "1", "--max-pixels", "0.02", "--json", "-o"]
        try:
            run = subprocess.run(
                [sys.executable, "-m", "bcm_restore", *command, f"{out}/", *map(str, batch)],
                capture_output=True, text=True, timeout=30 + SECONDS * len(batch), cwd=root / "here",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None if len(batch) > 1 else [Verdict("hang")]
        if changed := dict(before.items() ^ tree(root, Path(out)).items()):
            return [Verdict("other output", message=f"beside the output folder: {sorted(changed)}")] * len(batch)
        if run.returncode not in (0, 1, 2) or (run.returncode == 2 and len(batch) > 1):
            return None
        if "Traceback" in run.stderr or not run.stdout:
            return [Verdict("traceback", message=run.stderr[-200:])] * len(batch)
        entries = {entry["input"]: entry for entry in json.loads(run.stdout)["files"]}
        return [_verdict(entries[str(path)], Path(out)) for path in batch]


def tree(root: Path, out: Path) -> dict[str, tuple[int, ...]]:
    """All files below a folder, except the output folder, with their mode, size and time."""
    found = {}
    for path in root.rglob("*"):
        if out not in (path, *path.parents):
            info = path.lstat()
            found[str(path)] = (info.st_mode, *(() if path.is_dir() else (info.st_size, info.st_mtime_ns)))
    return found


def _verdict(entry: dict[str, str | None], out: Path) -> Verdict:
    if entry["status"] == "restored":
        inside = Path(entry["output"] or "").parent == out and Path(entry["output"] or "").is_file()
        return Verdict("result" if inside else "other output", message=str(entry["output"]))
    message = str(entry["error"])
    if "--debug" in message:  # an unexpected error
        return Verdict("traceback", message=message)
    return Verdict("one line" if message.isprintable() else "other output", message=message)


# Together


def table(counts: Counts) -> str:
    columns = (*GOOD, *BAD)
    total: collections.Counter[str] = collections.Counter()
    lines = [f"| format | files | {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) + 1)]
    for name, row in sorted(counts.items()):
        total += row
        lines.append(f"| {name} | {row.total()} | {' | '.join(str(row[c]) for c in columns)} |")
    lines.append(f"| all | {total.total()} | {' | '.join(str(total[c]) for c in columns)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="damaged files, besides the traps")
    parser.add_argument("--commands", type=int, default=300, help="number of damaged files for the command line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true", help="include pictures of 100 to 200 megapixels")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep files with bad outcomes in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ("files", "here", "home", "tmp"):
            (root / folder).mkdir()
        for variable in [name for name in os.environ if name.startswith("XDG_")]:
            del os.environ[variable]  # they would point outside the temporary home
        os.environ |= {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp")}
        counts, small = read_all(files(options.count, options.seed, options.large), root, options.keep)
        print(f"\n{table(counts)}\n")
        chosen = random.Random(options.seed).sample(small, min(options.commands, len(small)))
        if chosen:
            print(f"{table(enlarge_all(chosen, root, options.keep))}\n")
        print(f"files left in the folder for temporary files: {len(list((root / 'tmp').iterdir()))}")


if __name__ == "__main__":
    work() if sys.argv[1:2] == ["--worker"] else main()
