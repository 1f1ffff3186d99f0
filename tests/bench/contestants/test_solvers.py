"""What all solvers promise: their NFE, known pixels, seeds, gradients; and how they are chosen."""

import importlib.util
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.solvers import (
    CASES,
    EACH,
    ON_DEEPINV,
    case_of,
    contestant,
    gain,
    normal_pixels,
    sample_of,
)

from bcm_restore import tasks
from bcm_restore.bench.base import Case, Sample
from bcm_restore.bench.cases import cases
from bcm_restore.bench.contestants.solvers import SOLVERS, solvers, spread
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet, TiledNetwork
from bcm_restore.simulation.degradations import VARIANTS, downscaled, then_noisy

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
def test_a_noisy_small_picture_is_enlarged_as_it_is(exact, portrait, name):
    """Noise that the task would find and remove is no part of the solvers' problem."""
    example = then_noisy(downscaled(2), 10)(portrait, np.random.default_rng(0))
    assert "noise" in tasks.get("super-resolve").run(example.damaged, model=exact, nfe=1, scale=2).remark
    plain = replace(example, inputs={**example.inputs, "noise": 0})
    case, solver = case_of("super-resolve", "x2"), contestant(name, 1, exact)
    of_noisy, of_plain = (solver.restore(case, Sample("portrait", one)) for one in (example, plain))
    np.testing.assert_array_equal(of_noisy, of_plain)


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
    assert str(error.value) == "solver 'ddpm' is not known; did you mean 'ddrm'?"


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
