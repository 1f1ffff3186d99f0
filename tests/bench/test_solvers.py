"""Zero-shot solvers with our network: NFE, formulas on normal pixels, noise, and errors."""

import dataclasses
import importlib.util
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.toys import Around, ExactF

from bcm_restore import tasks
from bcm_restore.bench.base import Case, Sample
from bcm_restore.bench.cases import cases
from bcm_restore.bench.contestants import deepinv_solvers, own_solvers
from bcm_restore.bench.contestants.deepinv_solvers import PosteriorMean, physics_of
from bcm_restore.bench.contestants.solvers import SOLVERS, solvers, spread
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM, Noise
from bcm_restore.networks import ConvUNet, TiledNetwork
from bcm_restore.operators import Blur
from bcm_restore.simulation.degradations import VARIANTS

S = 0.3  # standard deviation of the normal pixels
LEVELS = [0.6, 0.2, 0.05]
ON_DEEPINV = [name for name, solver in SOLVERS.items() if solver.deepinv]
EACH = [
    pytest.param(
        name, marks=pytest.mark.skipif(not importlib.util.find_spec("deepinv"), reason="deepinv is not installed")
    )
    if name in ON_DEEPINV
    else name
    for name in SOLVERS
]
CASES = [("inpaint", "text"), ("inpaint", "boxes"), ("super-resolve", "x4"), ("super-resolve", "x3")]


def normal_pixels(**options):
    return BCM(Around(ExactF(S)), device="cpu", **options)


@pytest.fixture
def exact():
    return normal_pixels()


def case_of(task, variant):
    return Case(task, variant, VARIANTS[task][variant])


def sample_of(case, clean, seed=0):
    return Sample("picture", case.degrade(clean, np.random.default_rng(seed)))


def contestant(name, nfe, model, seed=0):
    (found,) = solvers([name], [nfe], model, {"name": "toy"}, seed)
    return found


def inpainting():
    """Pixels in [-1, 1], the left half known."""
    y = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1)) - 0.5
    mask = np.zeros((12, 16), bool)
    mask[:, 8:] = True
    return tasks.get("inpaint").problem(y, mask=mask), mask


def enlarging():
    y = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(1)) - 0.5
    return tasks.get("super-resolve").problem(y, scale=3)


def problems():
    return inpainting()[0], enlarging()


def dense(operator, size):
    """The matrix of A for one channel, from the images of the basis, and its pseudo-inverse."""
    basis = torch.eye(math.prod(size), dtype=torch.float64).view(-1, 1, *size).expand(-1, 3, -1, -1)
    A = operator.A(basis)[:, 0].flatten(1).T
    return A, torch.linalg.pinv(A)


def columns(image):
    """(1, 3, H, W) to one column per channel, for `dense`."""
    return image[0].flatten(1).T.double()


def measured(problem):
    """The columns of y, zero where it has no measurement."""
    return columns(torch.where(getattr(problem.operator, "known", torch.tensor(True)), problem.y, 0))


def global_noise(seed, *like):
    torch.manual_seed(seed)
    return [torch.randn_like(x) for x in like]


# --- all of them


@pytest.mark.slow
@pytest.mark.parametrize("nfe", [1, 2, 4, 8])
@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize(("task", "variant"), CASES)
def test_a_restoration_uses_exactly_its_nfe(exact, portrait, name, nfe, task, variant):
    case, solver = case_of(task, variant), contestant(name, nfe, exact)
    assert solver.suits(case)
    sample = sample_of(case, np.ascontiguousarray(portrait[:72, :96]))
    restored = solver.restore(case, sample)
    assert exact.nfe == nfe == len(exact.network.calls) == solver.nfe
    assert restored.shape == sample.example.clean.shape and restored.dtype == np.uint8
    levels = [t.item() for _, t, _, _ in exact.network.calls]
    np.testing.assert_allclose(levels, spread(*SOLVERS[name].levels[task], nfe), rtol=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_known_pixels_are_kept_and_unknown_ones_ignored(model, portrait, name):
    case, solver = case_of("inpaint", "boxes"), contestant(name, 2, model)
    sample = sample_of(case, portrait)
    example = sample.example
    restored = solver.restore(case, sample)
    hole = example.inputs["mask"]
    np.testing.assert_array_equal(restored[~hole], example.clean[~hole])
    assert (restored[hole] != example.damaged[hole]).any()
    example.damaged[hole] = 255
    np.testing.assert_array_equal(solver.restore(case, sample), restored)


def test_a_small_jpeg_is_enlarged_as_it_is(exact, face):
    [case] = cases("super-resolve", ["x4-jpeg-60"])
    small = case.degrade(face, np.random.default_rng(0))
    plain = replace(small, inputs={"scale": 4, "kernel": "bicubic", "noise": 0}, data=None)
    of_jpeg, of_pixels = (contestant("ddnm", 1, exact).restore(case, Sample("face", one)) for one in (small, plain))
    np.testing.assert_array_equal(of_jpeg, of_pixels)


@pytest.mark.parametrize("name", EACH)
def test_a_result_downscaled_is_the_small_picture(exact, face, name):
    case = case_of("super-resolve", "x4")
    example = sample_of(case, face // 2 + 64).example  # no result leaves the range
    restored = contestant(name, 4, exact).restore(case, Sample("face", example))
    again = (
        tasks.get("super-resolve")
        .problem(torch.zeros(1, 3, 12, 10), scale=4)
        .operator.A(torch.from_numpy(restored).permute(2, 0, 1)[None].double())
    )
    assert np.abs(again[0].permute(1, 2, 0).numpy() - example.damaged).max() < 1  # rounding


@pytest.mark.parametrize("name", EACH)
def test_results_depend_on_the_seed_and_global_generators_are_unchanged(exact, portrait, name):
    case = case_of("inpaint", "text")
    sample = sample_of(case, portrait)
    torch.manual_seed(7)
    first = contestant(name, 2, exact, seed=3).restore(case, sample)
    after = torch.rand(3)
    torch.manual_seed(7)
    np.testing.assert_array_equal(torch.rand(3), after)
    again = contestant(name, 2, exact, seed=3).restore(case, sample)  # from another state
    np.testing.assert_array_equal(again, first)
    assert (contestant(name, 2, exact, seed=4).restore(case, sample) != first).any()


@pytest.mark.parametrize("name", EACH)
def test_no_solver_is_far_from_the_first_estimate_on_a_photograph(model, portrait, name):
    """A wrong scale, sign or level costs many dB; none of these does."""
    for task, variant in (("inpaint", "text"), ("super-resolve", "x4")):
        case = case_of(task, variant)
        sample = sample_of(case, portrait)
        x, where = sample.example.clean.astype(float), sample.example.where

        def psnr(restored, x=x, where=where):
            error = (restored - x) ** 2
            return 10 * math.log10(255**2 / (error if where is None else error[where]).mean())

        estimate = tasks.get(task).problem(
            torch.from_numpy(np.array(sample.example.damaged)).permute(2, 0, 1)[None] / 127.5 - 1,
            **sample.example.inputs,
        )
        before = psnr(((estimate.x[0].permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255))
        assert psnr(contestant(name, 4, model).restore(case, sample)) > before - 1.5


def test_only_a_solver_that_fits_suits_nonlinear_degradations(exact):
    for name in SOLVERS:
        if name not in ON_DEEPINV or importlib.util.find_spec("deepinv"):
            solver = contestant(name, 1, exact)
            assert solver.suits(case_of("jpeg", "quality-10")) == (name == "dpm-solver++")
            assert not solver.suits(Case("interpolate", "pair", VARIANTS["inpaint"]["text"]))


@pytest.mark.parametrize(
    ("name", "task", "variant"),
    [("dpm-solver++", "jpeg", "quality-10"), ("dds", "deblur", "gaussian-1.6"), ("reddiff", "deblur", "gaussian-1.6")],
)
def test_levels_are_multiples_of_t0_where_measurements_are_not_exact(model, portrait, name, task, variant, monkeypatch):
    case, solver = case_of(task, variant), contestant(name, 3, model)
    sample = sample_of(case, portrait)
    found = []
    mean = model.mean
    monkeypatch.setattr(model, "mean", lambda x, t: found.append(t) or mean(x, t))
    restored = solver.restore(case, sample)
    damaged = torch.from_numpy(sample.example.damaged.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    t0 = tasks.get(task).problem(damaged, **sample.example.inputs).t0
    assert found == pytest.approx([t0 * level for level in spread(*SOLVERS[name].levels[task], 3)])

    def error(pixels):
        return ((pixels.astype(float) - sample.example.clean) ** 2).mean()

    assert error(restored) < error(sample.example.damaged)


# --- the formulas, on normal pixels, where the posterior mean is k x with k = s^2 / (s^2 + t^2)


def gain(t):
    return S**2 / (S**2 + t**2)


def test_levels_are_midpoints_of_logarithmic_intervals():
    assert spread(0.4, 0.1, 1) == pytest.approx([0.2])
    assert spread(0.8, 0.05, 4) == pytest.approx([0.8 * 2**-0.5, 0.8 * 2**-1.5, 0.8 * 2**-2.5, 0.8 * 2**-3.5])


def test_the_denoiser_of_unit_images_is_the_posterior_mean(exact):
    y = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for sigma in (0.05, torch.tensor(0.3), torch.tensor([0.1, 0.4])):
        k = gain(2 * torch.as_tensor(sigma)).view(-1, 1, 1, 1)
        torch.testing.assert_close(PosteriorMean(exact)(y, sigma), 0.5 + k * (y - 0.5), rtol=1e-4, atol=1e-6)
    assert exact.nfe == 3
    assert PosteriorMean(exact)(y, torch.tensor(0.0)) is y
    assert exact.nfe == 3


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddnm_on_normal_pixels(exact, eta):
    for problem in problems():
        A, pinv = dense(problem.operator, problem.x.shape[2:])
        null = torch.eye(len(pinv), dtype=torch.float64) - pinv @ A
        noise = Noise([5])

        fixed = pinv @ measured(problem)
        x = columns(problem.x) + LEVELS[0] * columns(noise(problem.x))
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            clean = x * gain(t)
            mixed = eta * columns(noise(problem.x)) + math.sqrt(1 - eta**2) * (x - clean) / t
            x = fixed + null @ clean + s * mixed
        result = own_solvers.ddnm(problem, exact, LEVELS, 5, eta=eta)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.parametrize("gamma", [0.5, 20.0])
def test_dds_on_normal_pixels(exact, eta, gamma):
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])
        y = measured(problem)
        noise = Noise([5])
        x = columns(problem.x) + LEVELS[0] * columns(noise(problem.x))
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            clean = x * gain(t)
            mixed = eta * columns(noise(problem.x)) + math.sqrt(1 - eta**2) * (x - clean) / t
            x = torch.linalg.solve(gamma * A.T @ A + torch.eye(len(x)), gamma * A.T @ y + clean) + s * mixed
        result = own_solvers.dds(problem, exact, LEVELS, 5, eta=eta, gamma=gamma)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=3e-3)  # five steps of conjugate gradients


def test_the_proximal_point_of_a_blur_is_that_of_its_matrix():
    """Five steps of conjugate gradients solve a small system with few eigenvalues."""
    operator = Blur(torch.tensor([[0.2, 0.6, 0.2]]), (3, 6))
    x, y = torch.rand(2, 1, 3, 3, 6, generator=torch.Generator().manual_seed(1))
    A, _ = dense(operator, (3, 6))
    expected = torch.linalg.solve(2 * A.T @ A + torch.eye(18), 2 * A.T @ columns(y) + columns(x))
    found = columns(own_solvers.proximal(operator, x, y, 2.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    transposed = columns(own_solvers.adjoint(operator, y, like=x))
    torch.testing.assert_close(transposed, A.T @ columns(y), rtol=0, atol=1e-5)


def test_noise_is_added_up_to_the_first_level(exact):
    problem = inpainting()[0]
    n = Noise([5])(problem.x)
    for t0, level, amount in ((0.0, 0.5, 0.5), (0.3, 0.5, 0.4), (0.5, 0.3, 0.0)):
        own = dataclasses.replace(problem, t0=t0)
        torch.testing.assert_close(own_solvers.noised(own, level, Noise([5])), problem.x + amount * n)


def test_reddiff_on_normal_pixels(exact):
    rate, weight = 0.8, 0.7
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])
        y, noise = measured(problem), Noise([5])
        mu = columns(problem.x)
        for t in LEVELS:
            clean = gain(t) * (mu + t * columns(noise(problem.x)))
            mu = mu - rate * (A.T @ (A @ mu - y) + weight * (mu - clean))
        result = own_solvers.reddiff(problem, exact, LEVELS, 5, rate=rate, weight=weight)
        torch.testing.assert_close(columns(result), mu, rtol=0, atol=1e-3)


def test_dpm_solver_on_normal_pixels(exact):
    for problem in problems():
        noise = Noise([5])(problem.x)
        x, before = problem.x + LEVELS[0] * noise, None
        for n, (t, s) in enumerate(zip(LEVELS, [*LEVELS[1:], 0.0], strict=True)):
            fitted = problem.operator.fit(gain(t) * x, problem.y)
            line = fitted
            if n == 1:  # linear in log t; the first and the last step are of first order
                line = fitted + (fitted - before) * math.log(t / s) / (2 * math.log(LEVELS[0] / t))
            x, before = (s / t) * x + (1 - s / t) * line, fitted
        result = own_solvers.dpm_solver(problem, exact, LEVELS, 5)
        torch.testing.assert_close(result, x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_cm4ir_on_normal_pixels(exact, eta):
    for problem in problems():
        noise = Noise([5])
        x = problem.x + LEVELS[0] * noise(problem.x)
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            # the consistency function of normal pixels ends at the same quantile
            clean = x * math.sqrt((S**2 + exact.sigma_min**2) / (S**2 + t**2))
            mixed = eta * noise(x) - math.sqrt(1 - eta**2) * (x - clean) / t
            x = problem.operator.fit(clean, problem.y) + s * mixed
        result = own_solvers.cm4ir(problem, exact, LEVELS, 5, eta=eta)
        torch.testing.assert_close(result, x, rtol=0, atol=3e-3)  # about the tolerance of the smooth fill


def test_physics_is_the_operator_of_the_task():
    pytest.importorskip("deepinv")
    for problem in problems():
        physics, y = physics_of(problem)
        x = torch.rand(2, *problem.x.shape[1:], generator=torch.Generator().manual_seed(2))
        A = problem.operator.A(x)
        torch.testing.assert_close(physics.A(x), A, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(physics.A_dagger(A), problem.operator.pinv(A), rtol=1e-4, atol=1e-5)
        z = torch.rand(A.shape, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(
            (A * problem.operator.A(physics.A_adjoint(z))).sum(), (A * physics.A_A_adjoint(z)).sum()
        )
        torch.testing.assert_close((physics.A_adjoint(z) * x).sum(), (z * A).sum(), rtol=1e-4, atol=1e-4)
        # the first estimate fits y: its measurement, in [0, 1], is y
        torch.testing.assert_close(y, problem.operator.A((problem.x + 1) / 2), rtol=1e-4, atol=1e-5)


def test_ddrm_at_one_level_is_the_mean_of_the_estimate_with_noise(exact):
    pytest.importorskip("deepinv")
    problem, _ = inpainting()
    result = deepinv_solvers.ddrm(problem, exact, [0.4], 5, eta=1.0)
    (n,) = global_noise(5, problem.x)
    expected = gain(0.4) * (problem.x + 0.4 / math.sqrt(2) * n)  # deepinv's sigma is larger than its noise
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


def test_ddrm_measured_pixels_are_the_measurement_at_each_level(exact):
    pytest.importorskip("deepinv")
    problem, mask = inpainting()
    result = deepinv_solvers.ddrm(problem, exact, LEVELS, 5, eta=1.0)
    n = global_noise(5, *[problem.x] * 3)[2]
    known = ~torch.from_numpy(mask)
    expected = gain(LEVELS[2]) * (problem.y + LEVELS[2] / math.sqrt(2) * n)
    torch.testing.assert_close(result[..., known], expected[..., known], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("zeta", [0.0, 0.3, 1.0])
def test_diffpir_on_normal_pixels(exact, zeta):
    pytest.importorskip("deepinv")
    lambda_, sigma = 7.0, 0.02
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])
        y = measured(problem)

        draws = [columns(n) for n in global_noise(5, *[problem.x] * 4)]
        x = columns(problem.x) + math.sqrt(LEVELS[0] ** 2 - 4 * sigma**2) * draws[0]
        for t, s, n in zip(LEVELS, [*LEVELS[1:], 0.0], draws[1:], strict=True):
            rho = 2 * lambda_ * sigma**2 / t**2  # argmin |A x - y|^2 + rho |x - clean|^2; deepinv's factor is 2
            clean = (gain(t) * x).clamp(-1, 1)
            clean = torch.linalg.solve(A.T @ A + rho * torch.eye(len(x)), A.T @ y + rho * clean)
            x = clean + s * (math.sqrt(1 - zeta) * (x - clean) / t + math.sqrt(zeta) * n)
        result = deepinv_solvers.diffpir(problem, exact, LEVELS, 5, zeta=zeta, lambda_=lambda_, sigma=sigma)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_dps_on_normal_pixels(exact, weight):
    pytest.importorskip("deepinv")
    for problem in problems():
        A, _ = dense(problem.operator, problem.x.shape[2:])

        y = measured(problem)
        torch.manual_seed(5)
        x = columns(problem.x) + LEVELS[0] * columns(torch.randn_like(problem.x))
        for t, s in zip(LEVELS, [*LEVELS[1:], 0.0], strict=True):
            k, r = gain(t), (s / t) ** 2
            # the posterior of x_s given x_t and x_0 = k x, and a step of (1 - r) t^2 against the gradient
            step = (1 - r) * (k * x - weight * k * A.T @ (A @ (k * x) - y)) + r * x
            x = step + (s * math.sqrt(1 - r) * columns(torch.randn(problem.x.shape, dtype=torch.float64)) if s else 0)
        result = deepinv_solvers.dps(problem, exact, LEVELS, 5, weight=weight)
        torch.testing.assert_close(columns(result), x, rtol=1e-3, atol=1e-4)


# --- gradients through the model


def test_gradients_flow_back_to_an_image_that_requires_them():
    model = normal_pixels()
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    model.mean(x, 0.5).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, gain(0.5)), rtol=1e-4, atol=1e-6)
    assert model.nfe == 1  # backpropagation does not count
    assert not model.mean(x.detach(), 0.5).requires_grad
    with torch.no_grad():
        assert not model.mean(x, 0.5).requires_grad


@pytest.mark.parametrize("tile", [None, 16])
def test_the_gradient_of_a_network_is_that_of_finite_differences(tile):
    torch.manual_seed(0)
    network = ConvUNet(channels=(8, 8), blocks=(1, 1), middle=1, embedding=16)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model = BCM(TiledNetwork(network, tile), device="cpu")
    x, direction = torch.randn(2, 1, 3, 19, 24)
    x.requires_grad_()
    result = model.traverse(x, 0.5, 0.1)
    torch.testing.assert_close(result.detach(), model.traverse(x.detach(), 0.5, 0.1))
    weights = torch.randn_like(result)
    (gradient,) = torch.autograd.grad((result * weights).sum(), x)
    ahead, behind = (model.traverse(x.detach() + h * direction, 0.5, 0.1) for h in (1e-2, -1e-2))
    slope = ((ahead - behind) * weights).sum() / 2e-2
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-2, atol=1e-2)
    assert all(parameter.grad is None for parameter in network.parameters())


# --- selection of solvers


def test_names_families_and_order(exact):
    found = solvers(["ddnm", "cm4ir"], [1, 4], exact, {"name": "toy"}, 0)
    assert [solver.name for solver in found] == ["DDNM, NFE 1", "DDNM, NFE 4", "CM4IR, NFE 1", "CM4IR, NFE 4"]
    assert [solver.family for solver in found] == ["DDNM", "DDNM", "CM4IR", "CM4IR"]


@pytest.mark.parametrize("name", EACH)
def test_identity_has_everything_that_a_result_depends_on(exact, name):
    identity = contestant(name, 2, exact, seed=3).identity()
    assert identity["solver"] == name and identity["nfe"] == 2 and identity["seed"] == 3
    assert identity["model"] == {"name": "toy"} and identity["parameters"] == SOLVERS[name].parameters
    assert identity["levels"]["inpaint"] == spread(*SOLVERS[name].levels["inpaint"], 2)
    assert ("deepinv" in identity) == SOLVERS[name].deepinv
    others = [contestant(name, 4, exact, seed=3), contestant(name, 2, exact, seed=4)]
    assert all(other.identity() != identity for other in others)


def test_an_unknown_solver_raises_an_error(exact):
    with pytest.raises(RestoreError) as error:
        solvers(["ddnm", "ddpm"], [1], exact, {}, 0)
    assert (
        str(error.value)
        == "solver 'ddpm' is not known; choose one of ddrm, diffpir, dps, ddnm, cm4ir, dds, reddiff, dpm-solver++"
    )


def test_without_deepinv_only_our_solvers_are_available(exact, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    for name in ON_DEEPINV:
        with pytest.raises(RestoreError) as error:
            solvers([name], [1], exact, {}, 0)
        expected = f'{name} needs the package deepinv; pip install "bcm-restore[bench]", or omit {name}'
        assert str(error.value) == expected
    assert len(solvers(["ddnm", "cm4ir"], [1], exact, {}, 0)) == 2


def test_solvers_that_need_the_posterior_mean_reject_models_without_it():
    published = normal_pixels(diagonal=False, name="published")
    for name, solver in SOLVERS.items():
        if solver.diagonal:
            with pytest.raises(RestoreError) as error:
                solvers([name], [1], published, {}, 0)
            assert str(error.value) == f"{name} needs the posterior mean, which model 'published' lacks; omit {name}"
    assert [solver.family for solver in solvers(["cm4ir"], [1], published, {}, 0)] == ["CM4IR"]
