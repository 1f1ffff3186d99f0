"""Published zero-shot solvers with our network at our NFE, as contestants.

Their published schedules take 20 to 1000 evaluations. Here, like our schemes, all start from the task's first estimate
plus noise and evaluate the network once at each of N noise levels. Where the measurements have no noise, they end with
A^+ y + (I - A^+ A) x.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from torch import Tensor

from ... import __version__, tasks
from ...errors import RestoreError, instead
from ...model import BCM
from ...packages import required
from ...tasks.arrays import to_tensor
from ..base import Case, Contestant, Sample
from .deepinv_solvers import ddrm, diffpir, dps
from .own_solvers import cm4ir, ddnm, dds, dpm_solver, project, reddiff

Solve = Callable[..., Tensor]  # (problem, model, levels, seed, **parameters) -> (B, 3, H, W) in about [-1, 1]

EXACT = ("inpaint", "super-resolve")  # measurements without noise, to project onto; the levels of others are multiples
# of the t0 of their problem


@dataclass(frozen=True)
class Solver:
    """A solver and its settings.

    Attributes:
        family: its name in the literature.
        solve: a function like `ddrm`.
        parameters: keyword arguments of `solve`.
        levels: the first and the last noise level, for each task that it supports; see `EXACT`.
        deepinv: whether it is deepinv's.
        diagonal: whether it needs the posterior mean.
    """

    family: str
    solve: Solve
    parameters: dict[str, float]
    levels: dict[str, tuple[float, float]]
    deepinv: bool = True
    diagonal: bool = True


class ZeroShot(Contestant):
    """A solver with a model, at one NFE.

    Args:
        key: of the solver in `SOLVERS`.
        nfe: network evaluations per picture.
        model: a loaded model.
        model_identity: identifies the model's weights.
        seed: of the noise, the same for all pictures.
    """

    def __init__(self, key: str, nfe: int, model: BCM, model_identity: dict[str, Any], seed: int) -> None:
        self.solver, self.nfe, self.model, self.seed = SOLVERS[key], nfe, model, seed
        self._levels = {task: spread(*ends, nfe) for task, ends in self.solver.levels.items()}
        self.family = self.solver.family
        self.name = f"{self.family}, NFE {nfe}"
        self._key, self._model_identity = key, model_identity

    def identity(self) -> dict[str, Any]:
        """The solver, its settings, NFE, seed and model, and the versions of this package and, if used, deepinv."""
        return {
            "solver": self._key,
            "nfe": self.nfe,
            "parameters": self.solver.parameters,
            "levels": self._levels,
            "seed": self.seed,
            "model": self._model_identity,
            "version": __version__,
            **({"deepinv": version("deepinv")} if self.solver.deepinv else {}),
        }

    def suits(self, case: Case) -> bool:
        """The tasks that the solver has levels for."""
        return case.task in self.solver.levels

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The restored picture (H, W, 3) uint8; without noise, it agrees with the measurements."""
        task, example = tasks.get(case.task), sample.example
        x, back = to_tensor(example.damaged)
        inputs = dict(example.inputs)
        if case.task == "super-resolve":  # a small JPEG or a noisy small picture is enlarged as it is
            inputs |= {"coefficients": None, "noise": 0}
        problem = task.problem(x.to(self.model.device), **inputs)
        exact, levels = case.task in EXACT, self._levels[case.task]
        if not exact:
            levels = [problem.t0 * level for level in levels]
        restored = self.solver.solve(problem, self.model, levels, self.seed, **self.solver.parameters)
        if exact:
            restored = project(problem.operator, restored, problem.y)
        return task.finish(back(restored), example.damaged, **example.inputs)


def solvers(
    names: Sequence[str], nfes: Sequence[int], model: BCM, model_identity: dict[str, Any], seed: int
) -> list[Contestant]:
    """The solvers of the given names (keys of `SOLVERS`) at each NFE, 1 or more.

    Raises:
        RestoreError: a name is not known, deepinv cannot be imported, or the model has no posterior mean.
    """
    for name in names:
        if name not in SOLVERS:
            raise RestoreError(f"solver '{name}' is not known; {instead(name, SOLVERS)}")
        if SOLVERS[name].diagonal and not model.diagonal:
            raise RestoreError(f"{name} needs the posterior mean, which model '{model.name}' lacks; omit {name}")
        if SOLVERS[name].deepinv:
            with required(name, "deepinv", f'pip install "bcm-restore[bench]", or omit {name}'):
                import deepinv  # noqa: F401
    return [ZeroShot(name, nfe, model, model_identity, seed) for name in names for nfe in nfes]


def spread(first: float, last: float, nfe: int) -> list[float]:
    """The midpoints of `nfe` equal intervals between two noise levels, on a logarithmic scale."""
    return [first * (last / first) ** ((n + 0.5) / nfe) for n in range(nfe)]


# Chosen by mean PSNR at NFE 1, 2, 4 and 8 on crops of two photographs, with text, boxes, x2 and x4. The search covered
# levels from 0.1..0.8 down to 0.01..0.08 with eta 0.85 and 1 (CM4IR's is the published one), zeta 0.3 and 1, weight
# 0.5, 1 and 2. Levels below LOW gain DiffPIR, DPS and DDNM at most 0.05 dB, by keeping the first estimate. From 0.5 to
# 0.05, where our own schemes work, all lose up to 1 dB in inpainting: a few evaluations do not average out fresh noise.
# With zeta and eta at 1 and no noise in y, DiffPIR and DDNM are nearly the same.
#
# DDS, RED-diff and DPM-Solver++ were chosen by mean PSNR at NFE 4 and 16 on three or four held-out crops, with text,
# boxes, x2, x4, JPEG qualities 10 and 40 and Gaussian blur: eta 0, 0.5, 1; gamma 10 to 300; weight 0.003 to 1; first
# levels 0.1 to 0.8, or 1 to 8 t0. In inpainting RED-diff is 0.24 dB worse by Adam at rates of 0.002 to 0.01.
LOW = {"inpaint": (0.1, 0.03), "super-resolve": (0.1, 0.03)}
SOLVERS = {
    "ddrm": Solver("DDRM", ddrm, {"eta": 1.0}, {"inpaint": (0.1, 0.03), "super-resolve": (0.5, 0.03)}),
    "diffpir": Solver("DiffPIR", diffpir, {"zeta": 1.0, "lambda_": 7.0, "sigma": 0.001}, LOW),
    "dps": Solver("DPS", dps, {"weight": 1.0}, LOW),
    "ddnm": Solver("DDNM", ddnm, {"eta": 1.0}, LOW, deepinv=False),
    "cm4ir": Solver(
        "CM4IR",
        cm4ir,
        {"eta": 0.1},
        {"inpaint": (0.1, 0.03), "super-resolve": (0.2, 0.03)},
        deepinv=False,
        diagonal=False,
    ),
    "dds": Solver(
        "DDS",
        dds,
        {"eta": 1.0, "gamma": 30.0},
        {"inpaint": (0.8, 0.03), "super-resolve": (0.4, 0.03), "deblur": (4.0, 1.0)},
        deepinv=False,
    ),
    "reddiff": Solver(
        "RED-diff",
        reddiff,
        {"rate": 1.0, "weight": 0.5},
        {"inpaint": (0.4, 0.1), "super-resolve": (0.2, 0.03), "deblur": (2.0, 0.5)},
        deepinv=False,
    ),
    "dpm-solver++": Solver("DDNM by DPM-Solver++", dpm_solver, {}, {**LOW, "jpeg": (1.0, 0.2)}, deepinv=False),
}
