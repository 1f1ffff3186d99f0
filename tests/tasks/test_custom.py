"""Tasks with an operator of one's own, among them deepinv's physics."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from bcm_restore.errors import RestoreError
from bcm_restore.operators import Mask, Operator
from bcm_restore.tasks import Custom
from bcm_restore.tasks.photographs import CHROMA, CONTRAST, Photographs

SIDE = 32


@pytest.fixture(scope="module")
def clean():
    """A photograph (1, 3, 32, 32) in [0, 1], without values near black and white."""
    pixels = data.astronaut()[20 : 20 + 6 * SIDE : 6, 140 : 140 + 6 * SIDE : 6].copy()
    return 0.15 + 0.7 * torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def psnr(a, b):
    return -10 * float(torch.log10((a - b).square().mean()))


class Half(Operator):
    """Every second column, in any range."""

    def A(self, u):
        return u[..., ::2]

    def pinv(self, y):
        return y.repeat_interleave(2, -1)

    def fit(self, u, y):
        fitted = u.clone()
        fitted[..., ::2] = y
        return fitted


def test_an_operator_of_ones_own(clean, model):
    y = Half().A(clean)
    restored = Custom(Half()).restore(y, nfe=1, model=model)
    assert restored.shape == clean.shape and restored.dtype == torch.float32
    assert torch.allclose(Half().A(restored), y, atol=1e-6)
    assert psnr(restored, clean) > psnr(Half().pinv(y), clean) + 1


def test_images_of_a_batch_are_restored_as_alone(clean, model):
    y = Half().A(torch.cat([clean, clean.flip(3)]))
    together = Custom(Half()).restore(y, nfe=1, model=model)
    alone = Custom(Half()).restore(y[1:], nfe=1, model=model)
    assert torch.allclose(together[1:], alone, atol=1e-4)


def test_measurements_may_be_anything(clean, model):
    class Columns(Half):
        def A(self, u):
            return list(super().A(u).unbind(-1))

        def pinv(self, y):
            return super().pinv(torch.stack(y, -1))

        def fit(self, u, y):
            return super().fit(u, torch.stack(y, -1))

    restored = Custom(Columns()).restore(Columns().A(clean), nfe=1, model=model)
    assert torch.equal(restored, Custom(Half()).restore(Half().A(clean), nfe=1, model=model))
    with pytest.raises(RestoreError, match="sigma is for measurements in a tensor, not list; leave it out"):
        Custom(Columns(), sigma=0.1).restore(Columns().A(clean), model=model)


def test_the_first_estimate_its_error_and_the_schemes_are_used(clean, model):
    y = Half().A(clean)
    problem = Custom(Half(), estimate=lambda y: torch.full_like(clean, 0.25), t0=0.4).problem(y)
    assert problem.t0 == 0.4 and torch.equal(problem.x, torch.full_like(clean, -0.5))
    seen = []
    task = Custom(Half(), schemes={1: "level 0.3, mean, fit"})
    found = task.run(y, nfe=1, model=model, seed=3, progress=lambda done, total: seen.append((done, total)))
    assert (str(found.scheme), found.nfe, found.case) == ("level 0.3, mean, fit", 1, "any") and seen == [(1, 1)]
    own = task.run(y, scheme="level 0.2, mean, fit", model=model)
    assert str(own.scheme) == "level 0.2, mean, fit"


def test_the_error_is_that_of_an_estimate_of_a_random_photograph(clean):
    """An estimate that is always grey errs by the contrast of photographs, clipped to [0, 1]."""
    problem = Custom(Half(), estimate=lambda y: torch.full_like(clean, 0.5)).problem(Half().A(clean))
    assert problem.t0 == pytest.approx(2 * CONTRAST, rel=0.5)


def test_noise_is_not_fitted(clean, model):
    """The residual after the last `fit` is that of the noise."""
    sigma = 0.05
    y = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    operator = Mask(torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool))
    problem = Custom(operator, sigma=sigma, t0=0).problem(y)
    left = y - problem.operator.A(problem.operator.fit(torch.zeros_like(y), y))
    assert float(left.square().mean().sqrt()) == pytest.approx(sigma, rel=1e-3)
    restored = Custom(operator, sigma=sigma, t0=2 * sigma).restore(y, scheme="mean, fit", model=model)
    assert psnr(restored, clean) > psnr(y, clean) + 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operator": 3}, "^int is not an operator: it needs A, pinv and fit"),
        ({"sigma": -1}, "^sigma=-1 is not a standard deviation; give 0 or more$"),
        ({"t0": "big"}, "^t0='big' is a str, not a number; give a float$"),
        ({"schemes": {1: "noise 1"}}, "leaves noise in the picture"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(RestoreError, match=message):
        Custom(**{"operator": Half(), **arguments})


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        (lambda y: y[0], r"^the first estimate is torch.float32 \(3, 32, 16\), not floats \(B, 1 or 3, H, W\); give"),
        (lambda y: y.numpy(), "^the first estimate is ndarray, not floats"),
        (lambda y: y / 0, "^the first estimate has NaN or infinite values"),
        (lambda y: y, r"^y is \(1, 3, 32, 16\), but the operator's A returns \(1, 3, 32, 8\): reshape y$"),
    ],
)
def test_estimates_that_do_not_fit(clean, estimate, message):
    with pytest.raises(RestoreError, match=message):
        Custom(Half(), estimate=estimate).restore(Half().A(clean))


def test_unknown_options_and_nfe(clean, model):
    y = Half().A(clean)
    with pytest.raises(TypeError, match="'sede'; did you mean 'seed'"):
        Custom(Half()).restore(y, sede=1)
    with pytest.raises(RestoreError, match="custom has no default scheme with NFE 5; choose 1, 2, 3, 4, 8, or give a"):
        Custom(Half()).restore(y, nfe=5, model=model)


# --- photographs as Gaussian images


def test_random_photographs():
    """Amplitude 1/f, the contrast of photographs, and little chroma, by the response to an impulse."""
    impulse = torch.zeros(1, 3, 24, 20)
    impulse[:, 0, 3, 4] = 1
    prior = Photographs(impulse)
    response = prior.root(impulse)
    amplitude = torch.fft.rfft2(response.mean(1))[0].abs()
    assert float(amplitude[3, 0] / amplitude[6, 0]) == pytest.approx(2, rel=1e-4)
    assert float(amplitude[0, 2] / amplitude[0, 5]) == pytest.approx(2.5, rel=1e-4)
    # a pixel of grey, the mean over three channels, has three independent parts of this variance
    assert float(response.mean(1).square().sum() * 3) == pytest.approx(CONTRAST**2, rel=1e-4)
    grey = response.mean(1, keepdim=True)
    assert torch.allclose((response - grey)[:, 0] / grey[:, 0], torch.tensor(2 * CHROMA), rtol=1e-3)
    images = prior.sample()
    assert images.shape == impulse.shape and float((images - 0.5).square().mean().sqrt()) < 3 * CONTRAST


@pytest.mark.parametrize("shape", [(1, 3, 4, 6), (1, 1, 5, 3)])
def test_the_posterior_mean_in_closed_form(shape):
    """1/2 + S A^T (A S A^T)^-1 (y - A 1/2) with S = R R."""
    size = int(np.prod(shape))
    matrix = torch.randn(size // 3, size, generator=torch.Generator().manual_seed(0))

    class Physics:
        def A(self, u):
            return u.flatten(1) @ matrix.T

        def A_adjoint(self, y):
            return (y @ matrix).view(shape)

    prior = Photographs(torch.zeros(shape))
    R = torch.cat([prior.root(e.view(shape)).view(1, -1) for e in torch.eye(size)]).double().numpy()
    A, S, y = matrix.double().numpy(), R @ R, torch.rand(1, size // 3)
    assert np.allclose(R, R.T, atol=1e-6)
    expected = 0.5 + S @ A.T @ np.linalg.solve(A @ S @ A.T, y[0].double().numpy() - A @ np.full(size, 0.5))
    assert np.allclose(prior.mean(Physics(), y).flatten().numpy(), expected, atol=5e-3)


# --- deepinv's physics


@pytest.fixture(scope="module")
def deepinv():
    return pytest.importorskip("deepinv")


@pytest.fixture(params=["mask", "blur", "blur by convolution", "compressed sensing"])
def physics(request, deepinv):
    kinds, size, rng = deepinv.physics, (3, SIDE, SIDE), torch.Generator().manual_seed(0)
    kernel = kinds.functional.gaussian_blur(sigma=(1.5, 1.5))
    return {
        "mask": lambda: kinds.Inpainting(size, mask=0.3, rng=rng),
        "blur": lambda: kinds.BlurFFT(size, kernel),
        "blur by convolution": lambda: kinds.Blur(kernel, padding="circular"),
        "compressed sensing": lambda: kinds.CompressedSensing(SIDE**2 // 2, size, channelwise=True, rng=rng),
    }[request.param]()


def test_deepinv_physics(physics, clean, model):
    y = physics(clean)
    task = Custom(physics)
    problem = task.problem(y)
    assert problem.case == ("pixels" if "Inpainting" in type(physics).__name__ else "any")
    restored = task.restore(y, nfe=2, model=model)
    assert restored.shape == clean.shape and restored.min() >= 0 and restored.max() <= 1
    assert float((physics.A(restored) - y).norm() / y.norm()) < 5e-3
    assert psnr(restored, clean) > psnr((problem.x + 1) / 2, clean) + 0.1


def test_the_noise_of_deepinv_physics_is_used(deepinv, clean, model):
    kinds, sigma = deepinv.physics, 0.05
    kernel, noise = kinds.functional.gaussian_blur(sigma=(1.0, 1.0)), kinds.GaussianNoise(sigma)
    blur = kinds.BlurFFT((3, SIDE, SIDE), kernel, noise_model=noise)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = blur(clean)
    problem = Custom(blur).problem(y)
    left = y - problem.operator.A(problem.x)
    assert float(left.square().mean().sqrt()) == pytest.approx(sigma, rel=0.02)
    restored, without = (Custom(blur, **options).restore(y, nfe=1, model=model) for options in ({}, {"sigma": 0}))
    assert psnr(restored, clean) > psnr(without, clean) + 3


def test_only_measured_values_have_noise(deepinv, clean):
    noise = deepinv.physics.GaussianNoise(0.1)
    mask = deepinv.physics.Inpainting(
        (3, SIDE, SIDE), mask=0.3, rng=torch.Generator().manual_seed(0), noise_model=noise
    )
    operator = Custom(mask, t0=0).problem(mask(clean)).operator
    known = float(mask.mask.sum())
    assert float(operator.operator.noise) == pytest.approx(0.1 * known**0.5, rel=1e-4)


@pytest.mark.slow
def test_grey_tomography(deepinv, clean, model):
    grey = clean.mean(1, keepdim=True)[..., :32, :32]
    tomography = deepinv.physics.Tomography(20, 32, normalize=True)
    y = tomography(grey)
    task = Custom(tomography)
    restored = task.restore(y, nfe=1, model=model)
    assert restored.shape == grey.shape
    assert psnr(restored, grey) > psnr((task.problem(y).x[:, :1] + 1) / 2, grey)


def test_physics_that_are_not_linear(deepinv):
    with pytest.raises(RestoreError, match=r"^PhaseRetrieval is not linear; give an operator"):
        Custom(deepinv.physics.PhaseRetrieval(deepinv.physics.LinearPhysics()))


@pytest.mark.slow
def test_the_example(deepinv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        runpy.run_path(str(Path(__file__).parents[2] / "examples" / "custom_operator.py"))
    measured, restored = (float(line.split()[1]) for line in capsys.readouterr().out.splitlines())
    assert restored > measured + 2
    assert {path.name for path in tmp_path.iterdir()} == {"measured.png", "restored.png"}
