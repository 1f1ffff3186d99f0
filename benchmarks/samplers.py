"""Published samplers and solvers beside our flow map, on the same model: the tables of benchmarks/samplers.md.

    python benchmarks/samplers.py ode FOLDER        # how near each ends to the ODE's solution
    python benchmarks/samplers.py trips FOLDER      # from images to noise and back
    python benchmarks/samplers.py restore FOLDER    # zero-shot solvers, FFDNet as the prior, and trained networks
    python benchmarks/samplers.py tune FOLDER       # the spacing of levels for the first two

All use the denoiser F(., t, t) of the model; only the flow map is trained to jump.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from flow_map import START, STEPS, crops, heun, rms
from torch import Tensor

from bcm_restore import metrics, ode, weights
from bcm_restore.bench import pictures
from bcm_restore.bench.base import Case, Contestant
from bcm_restore.bench.cases import cases
from bcm_restore.bench.contestants import prior
from bcm_restore.bench.contestants.enlargers import enlargers
from bcm_restore.bench.contestants.ours import FirstEstimate, Ours
from bcm_restore.bench.contestants.solvers import SOLVERS, solvers
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM, Noise

NFES = (4, 8, 16)
TOP = 80.0  # level of round trips
STARTS = (80.0, 1.0)  # noise levels; the first is noise alone, of the others pictures with noise
RESTORED = {
    "inpaint": ["text", "random-boxes"],
    "super-resolve": ["x2", "x4"],
    "jpeg": ["quality-10", "quality-40"],
    "deblur": ["gaussian-2.5"],
}
ZERO_SHOT = ("dds", "reddiff", "dpm-solver++")  # others: benchmarks/bench.md

Sampler = Callable[[BCM, Tensor, list[float]], Tensor]  # (model, x, levels) -> x at the last level


def levels(nfe: int, first: float, last: float, rho: float) -> list[float]:
    """nfe + 1 levels, evenly spaced in their rho-th root (EDM, eq. 5)."""
    line = ode.karras_levels(nfe + 1, min(first, last), max(first, last), rho).tolist()
    return line if first < last else line[::-1]


def jumps(model: BCM, x: Tensor, line: Sequence[float]) -> Tensor:
    """The flow map from level to level."""
    for t, u in itertools.pairwise(line):
        x = model.traverse(x, t, u)
    return x


def heun_steps(model: BCM, x: Tensor, line: Sequence[float]) -> Tensor:
    """Heun's method: two evaluations a step, so that every other level is left out."""
    for t, u in itertools.pairwise(line[::2]):
        x = heun(model, x, t, u, steps=1)
    return x


def on_mean(solver: ode.Solver) -> Sampler:
    """A solver of `ode`."""
    return lambda model, x, line: solver(model.mean, x, line)


def bdia(model: BCM, x: Tensor, line: Sequence[float], gamma: float = 1.0) -> Tensor:
    return ode.bdia(model.mean, x, line, gamma)[0]


# With the rho of `tune` for each start
SAMPLERS: dict[str, tuple[Sampler, tuple[float, ...], tuple[int, ...]]] = {
    "flow map": (jumps, (7, 1.5), (1, 2, 4, 8)),
    "DDIM": (on_mean(ode.ddim), (3, 1.5), NFES),
    "Heun": (heun_steps, (7, 7), NFES),
    "DPM-Solver++ (2M)": (on_mean(ode.dpm_solver), (7, 3), NFES),
    "DEIS": (on_mean(ode.deis), (3, 1.5), NFES),
    "BDIA, gamma 1": (bdia, (1.5, 1.5), NFES),
    "BDIA, gamma 0.5": (partial(bdia, gamma=0.5), (3, 3), NFES),
}
SPACINGS = (1.5, 3, 7, 20)


def starts(x: Tensor) -> Iterator[tuple[float, Tensor]]:
    """The levels and what is there."""
    for t in STARTS:
        yield t, (x if t < STARTS[0] else 0) + t * Noise(range(len(x)))(x)


def ode_table(model: BCM, x: Tensor) -> Iterator[str]:
    """RMS distance from the solution of 64 steps of Heun at sigma_min."""
    nfes = sorted({nfe for _, _, own in SAMPLERS.values() for nfe in own})
    for n, (t, start) in enumerate(starts(x)):
        truth = heun(model, start, t, model.sigma_min)
        yield f"\nFrom level {t:g}; the RMS of the solution is {rms(truth):.3f}:\n"
        yield header("sampler, NFE", nfes)
        for name, (sampler, rho, own) in SAMPLERS.items():
            found = {nfe: rms(sampler(model, start, levels(nfe, t, model.sigma_min, rho[n])) - truth) for nfe in own}
            yield row(name, [f"{found[nfe]:.4f}" if nfe in found else "" for nfe in nfes])


def tune_table(model: BCM, x: Tensor) -> Iterator[str]:
    """The same distance by rho: the geometric mean over the sampler's NFE from 2 to 8."""
    yield header("sampler, level", [f"rho {rho}" for rho in SPACINGS])
    for t, start in starts(x):
        truth = heun(model, start, t, model.sigma_min, STEPS // 2)
        for name, (sampler, _, own) in SAMPLERS.items():
            found = []
            for rho in SPACINGS:
                nfes = [nfe for nfe in own if 2 <= nfe <= 8]
                off = [rms(sampler(model, start, levels(nfe, t, model.sigma_min, rho)) - truth) for nfe in nfes]
                found.append(f"{np.exp(np.mean(np.log(off))):.4f}")
            yield row(f"{name}, {t:g}", found)


def trips_table(model: BCM, x: Tensor, top: float = TOP, rho: float = 7.0) -> Iterator[str]:
    """Round trips on the levels of EDM: what is kept of the pictures, and how near the noise is to that of the ODE."""
    yield header("round trip", ["evaluations each way", "PSNR, dB", "noise off by", "its standard deviation"])
    noisy, low = x + START * Noise(range(len(x)))(x), model.sigma_min
    truths = {}
    for t, start in ((low, x), (START, noisy)):
        truths[t] = noise = heun(model, start, t, top, STEPS // 2)
        yield trip(x, f"Heun from {t:g}", f"{STEPS}", noise, heun(model, noise, top, low, STEPS // 2), None)
    for nfe in (1, 2, 4):
        noise = jumps(model, noisy, levels(nfe, START, top, rho))
        back = jumps(model, noise, levels(nfe, top, low, rho))
        yield trip(x, f"flow map from {START:g}", str(nfe), noise, back, truths[START])
    for nfe, (t, start) in itertools.product(NFES, ((low, x), (START, noisy))):
        noise = ode.ddim(model.mean, start, levels(nfe, t, top, rho))
        back = ode.ddim(model.mean, noise, levels(nfe, top, low, rho))
        yield trip(x, f"DDIM from {t:g}", str(nfe), noise, back, truths[t])
    for gamma, nfe in itertools.product((1.0, 0.9), NFES):
        line, name = levels(nfe, low, top, rho), f"BDIA from {low:g}, gamma {gamma:g}"
        noise, before = ode.bdia(model.mean, x, line, 1 / gamma)
        both = ode.bdia(model.mean, noise, line[::-1], gamma, before)[0]
        alone = ode.bdia(model.mean, noise, line[::-1], gamma)[0]
        yield trip(x, f"{name}, both end states", f"{nfe}, {nfe - 1}", noise, both, truths[low])
        yield trip(x, f"{name}, the noise alone", str(nfe), noise, alone, truths[low])


def trip(x: Tensor, name: str, nfe: str, noise: Tensor, back: Tensor, truth: Tensor | None) -> str:
    """A row: PSNR of what comes back, and the distance of the noise from the ODE's, relative to it."""
    off = "" if truth is None else f"{rms(noise - truth) / rms(truth):.3f}"
    mse = ((back - x) / 2).square().mean((1, 2, 3))
    return row(name, [nfe, f"{float((-10 * mse.log10()).mean()):.2f}", off, f"{float(noise.std()):.2f}"])


def contestants(task: str, model: BCM) -> list[Contestant]:
    """All that is installed; each is left out of cases that it does not suit."""
    found: list[Contestant] = [FirstEstimate()]
    found += [Ours(task, model, {}, nfe) for nfe in (1, 4, 8)]
    found += solvers([name for name in ZERO_SHOT if task in SOLVERS[name].levels], NFES, model, {}, 0)
    try:
        ffdnet = prior.ffdnet("cpu")
    except RestoreError:  # not installed
        ffdnet = None
    if ffdnet:
        found += [Ours(task, ffdnet, {}, nfe, family="FFDNet, our schemes") for nfe in (1, 4, 8)]
    return [*found, *(enlargers() if task == "super-resolve" else [])]


def restore_table(case: Case, suite: pictures.Suite, model: BCM) -> Iterator[str]:
    """Mean PSNR in dB, in the hole for inpainting, by family and NFE."""
    taking_part = [one for one in contestants(case.task, model) if one.suits(case)]
    samples = list(suite.samples(case))
    nfes = sorted({one.nfe or 0 for one in taking_part})
    yield header(f"{case.task} {case.name}, NFE", nfes)
    for family, group in itertools.groupby(taking_part, lambda one: one.family):
        found = {}
        for one in group:
            examples = [(one.restore(case, sample), sample.example) for sample in samples]
            found[one.nfe] = np.mean([metrics.psnr(result, e.clean, e.where) for result, e in examples])
        yield row(family, [f"{found[nfe]:.2f}" if nfe in found else "" for nfe in nfes])


def header(first: str, names: Sequence[object]) -> str:
    return row(first, list(map(str, names))) + "\n" + "| --- " * (len(names) + 1) + "|"


def row(name: str, cells: Sequence[str]) -> str:
    return " | ".join(["| " + name, *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ode", "trips", "restore", "tune"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=weights.DEFAULT)
    parser.add_argument("--size", type=int, default=128, help="side of the crops")
    parser.add_argument("--limit", type=int, help="only the first N pictures")
    parser.add_argument("--task", choices=RESTORED, nargs="+", default=list(RESTORED), help="of restore")
    options = parser.parse_args()
    model = weights.load_model(options.model, device="cpu")
    if options.what == "restore":
        clean = pictures.load(options.folder, options.size, options.limit)
        print(f"\n### {clean.name}, {len(clean.clean)} pictures", flush=True)
        for case in itertools.chain.from_iterable(cases(task, RESTORED[task]) for task in options.task):
            print(flush=True)
            for line in restore_table(case, pictures.Suite(clean, [case]), model):
                print(line, flush=True)
        return
    x = crops(options.folder, options.size)[: options.limit]
    print(f"\n{len(x)} crops of {options.folder.name}, {options.size}x{options.size}\n", flush=True)
    for line in {"ode": ode_table, "trips": trips_table, "tune": tune_table}[options.what](model, x):
        print(line, flush=True)


if __name__ == "__main__":
    main()
