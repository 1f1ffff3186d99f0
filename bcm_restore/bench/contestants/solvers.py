"""Published zero-shot solvers with our network at our NFE: DDRM, DiffPIR and DPS (deepinv's), DDNM, CM4IR.

Their published schedules take 20 to 1000 evaluations. Here, like our schemes, all start from the task's first estimate
plus noise, evaluate the network once at each of N noise levels, and end with A^+ y + (I - A^+ A) x.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import __version__, schemes, tasks
from ...errors import RestoreError
from ...model import BCM, Noise
from ...operators import Linear, Mask, Operator, Resize, UnitRange
from ...operators.banded import Banded
from ...packages import required
from ...tasks import Problem
from ...tasks.arrays import to_tensor
from ..base import Case, Contestant, Sample

Solve = Callable[..., Tensor]  # (problem, model, levels, seed, **parameters) -> (B, 3, H, W) in about [-1, 1]


@dataclass(frozen=True)
class Solver:
    """A solver and its settings.

    Attributes:
        family: its name in the literature.
        solve: a function like `ddrm`.
        parameters: keyword arguments of `solve`.
        levels: the first and the last noise level, for each task that it supports.
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
        """Linear degradations: inpainting and super-resolution."""
        return case.task in self.solver.levels

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The restored picture (H, W, 3) uint8; known pixels are kept."""
        task, example = tasks.get(case.task), sample.example
        x, back = to_tensor(example.damaged)
        inputs = dict(example.inputs)
        if "coefficients" in inputs:  # these solvers need linear operators, so they enlarge a small JPEG as it is
            inputs |= {"coefficients": None, "noise": 0}
        problem = task.problem(x.to(self.model.device), **inputs)
        restored = self.solver.solve(problem, self.model, self._levels[case.task], self.seed, **self.solver.parameters)
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
            raise RestoreError(f"solver '{name}' is not known; choose one of {', '.join(SOLVERS)}")
        if SOLVERS[name].diagonal and not model.diagonal:
            raise RestoreError(f"{name} needs the posterior mean, which model '{model.name}' lacks; omit {name}")
        if SOLVERS[name].deepinv:
            with required(name, "deepinv", f'pip install "bcm-restore[bench]", or omit {name}'):
                import deepinv  # noqa: F401
    return [ZeroShot(name, nfe, model, model_identity, seed) for name in names for nfe in nfes]


def ddrm(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, eta: float) -> Tensor:
    """Denoising diffusion restoration models (arXiv 2201.11793), deepinv's.

    deepinv's implementation starts at zero in the null space. Here it restores the difference to the first estimate, so
    that it starts at the estimate. It adds noise of t / sqrt(2) where it passes t to the network; this is unchanged.

    Args:
        problem: the inverse problem.
        model: its `nfe` grows by one for each noise level.
        levels: noise levels, decreasing, above 0.
        seed: of the noise.
        eta: fraction of fresh noise in the null space.

    Returns:
        (B, 3, H, W) in about [-1, 1].
    """
    import deepinv

    physics, y = physics_of(problem)
    if not hasattr(physics.noise_model, "sigma"):
        physics.noise_model = deepinv.physics.GaussianNoise(0.0).to(y.device)  # DDRM's default is 0.01
    estimate, denoiser = to_unit(problem.x), PosteriorMean(model)
    sampler = deepinv.sampling.DDRM(
        lambda x, sigma: denoiser(estimate + x, sigma) - estimate, sigmas=[t / 2 for t in levels], eta=eta
    )
    with own_noise(seed):
        return from_unit(estimate + sampler(y - physics.A(estimate), physics))


def diffpir(
    problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, zeta: float, lambda_: float, sigma: float
) -> Tensor:
    """Denoising diffusion models for plug-and-play image restoration (arXiv 2305.08995), deepinv's.

    deepinv's implementation goes from level 157 to 0.01 on DDPM's table of 1000 levels, and discards the last
    evaluation. Here the table has our levels and a last level of zero, where nothing is evaluated.

    Args:
        problem, model, levels, seed: see `ddrm`.
        zeta: fraction of fresh noise, in variance.
        lambda_, sigma: of rho = lambda sigma^2 / t^2, the weight of the denoised image against the measurement.
    """
    import deepinv

    physics, y = physics_of(problem)
    sampler = deepinv.sampling.DiffPIR(
        PosteriorMean(model), deepinv.optim.L2(), sigma=sigma, zeta=zeta, lambda_=lambda_, device=model.device
    )
    t = torch.tensor([0.0, *reversed(levels)], device=model.device)  # increasing, like its table
    scale = (1 + t**2).rsqrt()
    sampler.reduced_alpha_cumprod, sampler.sigmas = t, t.flip(0)
    sampler.sqrt_alphas_cumprod, sampler.sqrt_1m_alphas_cumprod = scale, scale * t
    sampler.get_alpha_prod = lambda: (1 / scale, t)
    sampler.rhos = lambda_ * sigma**2 / t**2
    sampler.seq = torch.arange(len(t))
    with own_noise(seed):
        return from_unit(sampler(y, physics, x_init=to_unit(problem.x)))


def dps(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, weight: float) -> Tensor:
    """Diffusion posterior sampling (arXiv 2209.14687), deepinv's, in its variance-exploding form.

    Backpropagates through the network once at each level, which takes time and memory but does not count as NFE.

    Args:
        problem, model, levels, seed: see `ddrm`.
        weight: of the gradient of |y - A D(x, t)|^2 / (2 t^2).
    """
    from deepinv import sampling

    physics, y = physics_of(problem)
    denoiser = PosteriorMean(model)
    sampler = sampling.PosteriorDiffusion(
        sampling.DPSDataFidelity(denoiser, weight=weight, guidance="annealed"),
        denoiser,
        sampling.EDMDiffusionSDE(sigma_t=lambda t: t, variance_exploding=True, device=model.device),
        sampling.DDPMSolver(torch.tensor([*levels, 0.0])),
        device=model.device,
    )
    with own_noise(seed):
        x = problem.x + levels[0] * torch.randn_like(problem.x)
        return from_unit(sampler(y, physics, x_init=x.double())).float()


def ddnm(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, eta: float) -> Tensor:
    """Denoising diffusion null-space model (arXiv 2212.00490), without noise in y.

    At each level x_0 = D(x, t), then x = A^+ y + (I - A^+ A) x_0 + s (eta n + sqrt(1 - eta^2) (x - x_0) / t), where s
    is the next level and n fresh noise.

    Args:
        problem, model, levels, seed: see `ddrm`.
        eta: fraction of fresh noise.
    """
    noise = Noise([seed] * len(problem.x))
    x = problem.x + levels[0] * noise(problem.x)
    for t, s in pairwise([*levels, 0.0]):
        clean = model.mean(x, t)
        n = eta * noise(x) + math.sqrt(1 - eta**2) * (x - clean) / t
        x = project(problem.operator, clean, problem.y) + s * n
    return x


def cm4ir(problem: Problem, model: BCM, levels: Sequence[float], seed: int, *, eta: float) -> Tensor:
    """Few-step guidance of consistency models (CM4IR, arXiv 2412.20596), without its offsets delta, as our scheme.

    x_0 is the consistency function's output. The removed noise is added again with its sign reversed, which moves x_0
    further in the same direction, like momentum. Without the reversal the result is up to 5 dB worse.

    Args:
        problem, model, levels, seed: see `ddrm`.
        eta: fraction of fresh noise.
    """
    first, *others = levels
    text = ", ".join([f"noise {first!r}, to 0, fit", *(f"renoise {t!r} {eta!r}, to 0, fit" for t in others)])
    noise = Noise([seed] * len(problem.x))
    return schemes.run(schemes.parse(text), model, problem.x, problem.operator, problem.y, noise)


class PosteriorMean(nn.Module):
    """A model as a deepinv denoiser: images in [0, 1], with noise of standard deviation sigma on that scale."""

    def __init__(self, model: BCM) -> None:
        super().__init__()
        self.model = model

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """E[x_0 | y], 1 NFE; y itself at sigma = 0, without an evaluation."""
        t = 2 * torch.as_tensor(sigma)
        return to_unit(self.model.mean(from_unit(y), t)) if t.any() else y


def to_unit(x: Tensor) -> Tensor:
    """Maps [-1, 1] to [0, 1]."""
    return (x + 1) / 2


def from_unit(x: Tensor) -> Tensor:
    """Maps [0, 1] to [-1, 1]."""
    return 2 * x - 1


def project(operator: Operator, x: Tensor, y: Tensor) -> Tensor:
    """Projects x onto the measurements: A^+ y + (I - A^+ A) x. An operator's own `fit` may do more."""
    return Operator.fit(operator, x, y)


def spread(first: float, last: float, nfe: int) -> list[float]:
    """The midpoints of `nfe` equal intervals between two noise levels, on a logarithmic scale."""
    return [first * (last / first) ** ((n + 0.5) / nfe) for n in range(nfe)]


def physics_of(problem: Problem) -> tuple[Any, Tensor]:
    """The operator as deepinv's `DecomposablePhysics`, A = U diag(s) V^T, and y, for images in [0, 1].

    Of a `Custom` task it is the task's own physics.
    """
    from deepinv import physics

    operator, x = problem.operator, problem.x
    if isinstance(operator, Mask):
        known = operator.A(torch.ones_like(x))
        return physics.Inpainting(x.shape[1:], known, device=x.device), known * to_unit(problem.y)
    if isinstance(operator, UnitRange):
        assert isinstance(operator.operator, Linear)
        return operator.operator.physics, problem.y
    assert isinstance(operator, Resize)
    # A x = R_h x R_w^T: with R = U diag(s) V^T for each axis, the orthogonal maps of A are separable
    (height, width), (h, w) = operator.image_size, operator.size
    U_h, s_h, V_h = (part.to(x) for part in svd(operator._rows))
    U_w, s_w, V_w = (part.to(x) for part in svd(operator._columns))
    padding = (0, width - w, 0, height - h)  # zero singular values
    decomposed = physics.DecomposablePhysics(
        U=lambda z: U_h @ z[..., :h, :w] @ U_w.mT,
        U_adjoint=lambda y: F.pad(U_h.mT @ y @ U_w, padding),
        V=lambda z: V_h @ z @ V_w.mT,
        V_adjoint=lambda x: V_h.mT @ x @ V_w,
        mask=F.pad(torch.outer(s_h, s_w), padding).expand(1, 3, -1, -1).contiguous(),
        device=x.device,
    )
    return decomposed, to_unit(problem.y)


@lru_cache(maxsize=8)  # two per size; a set has few sizes
def svd(matrix: Banded) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, m), s (min(m, n),) and V (n, n) in float64."""
    U, s, V_T = torch.linalg.svd(matrix(torch.eye(matrix.shape[1], dtype=torch.float64)))
    return U, s, V_T.mT


@contextmanager
def own_noise(seed: int) -> Iterator[None]:
    """Seeds torch's global generators, which deepinv uses, and restores them afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


# Chosen by mean PSNR at NFE 1, 2, 4 and 8 on crops of two photographs, with text, boxes, x2 and x4. The search covered
# levels from 0.1..0.8 down to 0.01..0.08 with eta 0.85 and 1 (CM4IR's is the published one), zeta 0.3 and 1, weight
# 0.5, 1 and 2. Levels below LOW gain DiffPIR, DPS and DDNM at most 0.05 dB, by keeping the first estimate. From 0.5 to
# 0.05, where our own schemes work, all lose up to 1 dB in inpainting: a few evaluations do not average out fresh noise.
# With zeta and eta at 1 and no noise in y, DiffPIR and DDNM are nearly the same.
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
}
