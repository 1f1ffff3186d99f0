"""deepinv's solvers with our network at our NFE: DDRM, DiffPIR and DPS."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model import BCM
from ...operators import Linear, Mask, Resize, UnitRange
from ...operators.banded import Banded
from ...tasks import Problem


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
