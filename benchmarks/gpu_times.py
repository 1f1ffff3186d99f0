"""The duration of evaluations on a GPU, compared with the card's limits: the tables of benchmarks/cuda.md.

    python benchmarks/gpu_times.py [MODEL ...]

Medians of repeated runs after warm-up, timed by device events (on a CPU by wall clock).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bcm_restore import networks, weights
from bcm_restore.model import BCM

NFE = 4
SIZES = {"512x768": (512, 768), "3000x4000": (3000, 4000)}


def seconds(call: Callable[[], object], device: torch.device, budget: float) -> float:
    """The median over runs within a budget of seconds, after two warm-up runs."""
    times: list[float] = []
    until = time.perf_counter() + budget
    while len(times) < 4 or (time.perf_counter() < until and len(times) < 50):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1000)
        else:
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def ceilings(device: torch.device, side: int) -> list[str]:
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = 2 * side**3 / seconds(lambda: a @ b, device, 1) / 1e12
    source = torch.randn(side, side, 4, device=device)
    copy = torch.empty_like(source)
    moved = 2 * source.nbytes / seconds(lambda: copy.copy_(source), device, 1) / 1e12
    return [f"{side}^3 bf16 product: {product:.0f} TFLOP/s; copy of {source.nbytes / 1e9:.1f} GB: {moved:.2f} TB/s"]


def as_shipped(model: BCM, x: Tensor) -> Callable[[], object]:
    """NFE evaluations, as in the commands."""

    def run() -> None:
        for _ in range(NFE):
            model.mean(x, 0.2)

    return run


def bare(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """The same evaluations by the bare network, without tiling."""
    t = torch.full((len(x),), 0.2, device=x.device)

    def run() -> None:
        with torch.no_grad(), torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            for _ in range(NFE):
                network(x, t, t)

    return run


def graphed(call: Callable[[], object]) -> Callable[[], object]:
    """The same, replayed as a CUDA graph."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def photographs(names: list[str], device: torch.device, shrink: int) -> list[str]:
    lines = [f"| model | size | way | seconds for {NFE} evaluations |", "| --- | --- | --- | --- |"]
    for name in names:
        for label, (height, width) in SIZES.items():
            x = torch.randn(1, 3, height // shrink, width // shrink, device=device)

            def row(way: str, call: Callable[[], object], name: str = name, label: str = label) -> None:
                try:
                    lines.append(f"| {name} | {label} | {way} | {seconds(call, device, 1):.4f} |")
                except Exception as error:
                    lines.append(f"| {name} | {label} | {way} | {type(error).__name__} |")
                print(lines[-1], flush=True)

            for dtype in ("fp32", "bf16", "fp16"):
                row(dtype, as_shipped(weights.load_model(name, device=device, dtype=dtype), x))
            if label != "512x768":
                continue
            description, tensors = weights.read(weights.find(name))
            network = networks.build(description["architecture"], description["config"])
            network.load_state_dict(tensors)
            network = network.requires_grad_(False).to(device).to(memory_format=torch.channels_last).eval()
            packed = x.to(memory_format=torch.channels_last)
            row("bf16, whole network at once, channels_last", bare(network, packed, torch.bfloat16))
            if device.type == "cuda":
                row("the same, CUDA graph", graphed(bare(network, packed, torch.bfloat16)))
            compiled = torch.compile(network)
            row("the same, torch.compile", bare(compiled, packed, torch.bfloat16))
            if device.type == "cuda":
                row("the same, torch.compile and CUDA graph", graphed(bare(compiled, packed, torch.bfloat16)))
    return lines


def published(device: torch.device) -> list[str]:
    lines = ["| batch | seconds an evaluation | windows of 64x64 a second |", "| --- | --- | --- |"]
    network = networks.AdmUNet().eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    for batch in (1, 32, 256) if device.type == "cuda" else (1,):
        x, t = torch.randn(batch, 3, 64, 64, device=device), torch.full((batch,), 1.0, device=device)

        def run(x: Tensor = x, t: Tensor = t) -> None:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                network(x, t, t)

        one = seconds(run, device, 1)
        lines.append(f"| {batch} | {one:.4f} | {batch / one:.0f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[weights.DEFAULT])
    parser.add_argument("--shrink", type=int, default=1, help="divide the sizes by this, to test the script on a CPU")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, torch {torch.__version__}\n")
    print("\n".join(ceilings(device, 8192 // options.shrink)) + "\n")
    print("\n" + "\n".join(photographs(options.models, device, options.shrink)) + "\n")
    print("\n" + "\n".join(published(device)))


if __name__ == "__main__":
    main()
