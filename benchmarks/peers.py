"""Speed and memory beside other networks and methods: benchmarks/peers.md.

    pip install -e ".[bench,distil]" spandrel
    python benchmarks/peers.py

One picture of one megapixel, all cores. Each contestant runs in a process of its own, `ROUNDS` times, or once if that
takes longer than `LONG` seconds; the table has the fastest, and the peak memory of the process above that before the
picture. Networks without weights on this machine have random ones, which take as long. Contestants whose package is
missing are left out.
"""

import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data

SIDE = 1000
ROUNDS, LONG = 4, 10.0
OWN = ("bcm-photo", "bcm-photo-small")

Work = Callable[[], object]


def photo(side: int = SIDE) -> np.ndarray:
    return np.asarray(Image.fromarray(data.astronaut()).resize((side, side), Image.Resampling.BICUBIC))


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


def evaluation(name: str) -> Work:
    """One network evaluation of a model."""
    from bcm_restore import load_model

    model, x = load_model(name, device="cpu"), tensor(photo()) * 2 - 1
    return lambda: model.mean(x, 0.2)


def task(name: str, task: str, nfe: int) -> Work:
    from bcm_restore import load_model, tasks

    model, pixels = load_model(name, device="cpu"), photo()
    inputs: dict[str, Any] = {}
    if task == "inpaint":
        inputs["mask"] = np.zeros(pixels.shape[:2], bool)
        inputs["mask"][::40] = True
    elif task == "super-resolve":
        pixels, inputs = photo(SIDE // 4), {"scale": 4, "kernel": "bicubic", "noise": 0}
    elif task == "jpeg":
        inputs["input_quality"] = 20
    elif task == "denoise":
        inputs["sigma"] = 25
    return lambda: tasks.get(task).restore(pixels, nfe=nfe, model=model, **inputs)


def network(kind: str) -> Work:
    """One evaluation of a network in a package; on the small picture if it enlarges by 4."""
    x = tensor(photo(SIDE // 4 if kind == "RRDB" else SIDE))
    net: Any
    if kind == "FFDNet":
        from bcm_restore.train import teachers

        net = teachers.ffdnet(None).network
        return lambda: net(x, torch.tensor([0.1]))
    if kind == "RRDB":
        from spandrel.architectures.ESRGAN import ESRGAN

        net = ESRGAN().eval()
        return lambda: net(x)
    import deepinv

    if kind == "DRUNet":
        net = deepinv.models.DRUNet(pretrained=None).eval()
        return lambda: net(x, 0.1)
    net = deepinv.models.SwinIR(
        img_size=64, window_size=8, depths=[6] * 4, embed_dim=60, num_heads=[6] * 4, pretrained=None, upscale=1
    ).eval()
    return lambda: net(x)


def classical(kind: str) -> Work:
    pixels, hole = photo(), np.zeros((SIDE, SIDE), bool)
    hole[::40] = True
    if kind == "Telea":
        import cv2

        return lambda: cv2.inpaint(pixels, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    if kind == "biharmonic":
        from skimage.restoration import inpaint_biharmonic

        return lambda: inpaint_biharmonic(pixels, hole, channel_axis=-1)
    import bm3d

    noisy = pixels / 255 + np.random.default_rng(0).normal(0, 0.1, pixels.shape)
    return lambda: bm3d.bm3d_rgb(noisy, 0.1)


CONTESTANTS: dict[str, tuple[Callable[..., Work], tuple[Any, ...]]] = {
    **{f"{name}, one evaluation": (evaluation, (name,)) for name in OWN},
    **{
        f"{name}, {each}, NFE {nfe}": (task, (name, each, nfe))
        for name in OWN
        for each in ("inpaint", "jpeg", "super-resolve", "denoise")
        for nfe in (1, 4)
        if (each, nfe) != ("denoise", 4)
    },
    "FFDNet": (network, ("FFDNet",)),
    "DRUNet, random weights": (network, ("DRUNet",)),
    "SwinIR-light, random weights": (network, ("SwinIR",)),
    "Real-ESRGAN's RRDB x4, random weights": (network, ("RRDB",)),
    "OpenCV's Telea": (classical, ("Telea",)),
    "scikit-image's biharmonic": (classical, ("biharmonic",)),
    "BM3D": (classical, ("BM3D",)),
}


def measure(name: str, results: Any) -> None:
    """Puts (seconds, bytes) of a contestant, or why it is missing, into the queue."""
    make, arguments = CONTESTANTS[name]
    try:
        with torch.no_grad():
            work = make(*arguments)
            before = peak_memory()
            seconds = timed(work)
            if seconds < LONG:
                seconds = min(timed(work) for _ in range(ROUNDS - 1))
        results.put((seconds, peak_memory() - before))
    except ImportError as error:
        results.put(str(error))


def timed(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def products_per_second(side: int = 2048) -> float:
    """The machine's multiplications and additions per second in a matrix product, float32."""
    a = torch.randn(side, side)
    torch.mm(a, a)
    return 2 * side**3 / min(timed(lambda: torch.mm(a, a)) for _ in range(5))


def operations(name: str) -> int:
    """Multiplications and additions of an evaluation, by PyTorch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    from bcm_restore import load_model

    network: Any = load_model(name, device="cpu").network.network
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, SIDE, SIDE), torch.ones(1), torch.ones(1))
    return counter.get_total_flops()


def main() -> None:
    context, found = multiprocessing.get_context("spawn"), {}
    for name in CONTESTANTS:
        results = context.Queue()
        process = context.Process(target=measure, args=(name, results))
        process.start()
        found[name] = results.get()
        process.join()
        print(json.dumps({name: found[name]}), flush=True)
    own = found[f"{OWN[0]}, one evaluation"][0]
    print("\n| contestant | seconds | of bcm-photo's evaluation | peak memory, MB |\n| --- | --- | --- | --- |")
    for name, result in found.items():
        if isinstance(result, str):
            print(f"| {name} | n/a: {result} | | |")
        else:
            print(f"| {name} | {result[0]:.2f} | {result[0] / own:.2f} | {result[1] / 1e6:.0f} |")
    rate = products_per_second()
    print(f"\nMatrix product: {rate / 1e9:.0f} GFLOP/s.")
    for name in OWN:
        count, seconds = operations(name), found[f"{name}, one evaluation"][0]
        print(f"{name}: {count / 1e9:.0f} GFLOP an evaluation, {100 * count / seconds / rate:.0f} % of that rate.")


if __name__ == "__main__":
    main()
