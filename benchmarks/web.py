"""How soon `bcm-restore web` answers: seconds from the start of the process.

    python benchmarks/web.py [--rounds 5]

The first answer is the first 200 for `/`, which may say that the page is being loaded. The page is there when `/config`
answers. Each round also imports gradio and torch, in processes of their own. The table has the medians, and their
ratios to the two imports.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable

WHAT = ("first answer", "page", "import gradio", "import torch")


def answered(url: str) -> bool:
    """Whether a request is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def wait(ready: Callable[[], bool]) -> None:
    """Returns when `ready` does."""
    while not ready():
        time.sleep(0.01)


def served() -> tuple[float, float]:
    """The seconds until the first answer and until the page is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        command = [sys.executable, "-m", "bcm_restore", "web", "--port", str(port)]
        process = subprocess.Popen(command, stdout=output)
        try:
            found = []
            for route in ("/", "/config"):
                wait(lambda route=route: answered(f"http://127.0.0.1:{port}{route}") or process.poll() is not None)
                found.append(time.perf_counter() - begin)
            if process.poll() is not None:
                raise SystemExit("the server has ended")
            return found[0], found[1]
        finally:
            process.terminate()
            process.wait()


def imported(package: str) -> float:
    """The seconds of a process that imports a package."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    served()  # files are in the disk cache from here on
    taken = [(*served(), imported("gradio"), imported("torch")) for _ in range(rounds)]
    medians = dict(zip(WHAT, map(statistics.median, zip(*taken, strict=True)), strict=True))
    print("| | s | to import gradio | to import torch |\n| --- | --- | --- | --- |")
    for name, seconds in medians.items():
        ratios = [seconds / medians[f"import {package}"] for package in ("gradio", "torch")]
        print(f"| {name} | {seconds:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    print(json.dumps(taken), file=sys.stderr)


if __name__ == "__main__":
    main()
