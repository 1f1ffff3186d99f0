"""Generation, inversion and reconstruction, on networks with known outputs."""

import math

import pytest
import torch

from bcm_restore import samplers, schemes
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM
from bcm_restore.networks import Network

S = 0.3  # standard deviation of the images of `Gaussian`


class Gaussian(Network):
    """F of the exact map for Gaussian images with the mean of their class; records levels and labels."""

    classes = 10

    def __init__(self):
        super().__init__()
        self.calls, self.labels = [], []

    def forward(self, x, t, u, maps=None, labels=None):
        self.calls.append((round(t[0].item(), 6), round(u[0].item(), 6)))
        self.labels.append(None if labels is None else labels.tolist())
        t, u = (level.double().view(-1, 1, 1, 1) for level in (t, u))
        centre = 0 if labels is None else labels.view(-1, 1, 1, 1) / 10
        z = x * (t**2 + 0.25).sqrt()
        result = centre + (z - centre) * ((S**2 + u**2) / (S**2 + t**2)).sqrt()
        return ((result - (t * u + 0.25) / (t**2 + 0.25) * z) * (t**2 + 0.25).sqrt() / (0.5 * (t - u))).float()


@pytest.fixture
def model():
    return BCM(Gaussian(), device="cpu")


def noise(seed, *, draws=1, shape=(3, 8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.empty(shape).normal_(generator=generator) for _ in range(draws)]


def shrink(t, u):
    return math.sqrt((S**2 + u**2) / (S**2 + t**2))


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("one-step", [(80, 0.002)]),
        ("ancestral-2", [(80, 2.4), (2.4, 0.002)]),
        ("zigzag-3", [(80, 0.002), (0.1, 1.2), (1.2, 0.002)]),
        ("mixed-4", [(80, 3.0), (3.0, 0.002), (0.12, 0.4), (0.4, 0.002)]),
    ],
)
def test_published_schedules_of_generation(model, name, calls):
    images = samplers.generate(model, 2, name, size=(8, 12))
    assert model.network.calls == calls
    assert images.shape == (2, 3, 8, 12)
    assert model.nfe == len(calls) == samplers.generation(name).nfe


@pytest.mark.parametrize(
    ("name", "calls"), [("inversion-1", [(0.07, 80)]), ("inversion-2", [(0.07, 15.0), (15.0, 80)])]
)
def test_published_schedules_of_inversion(model, name, calls):
    x = 0.3 * torch.randn(2, 3, 8, 8)
    latent = samplers.invert(model, x, name, seed=3)
    assert model.network.calls == calls
    # the same small noise for each image, then the exact map of Gaussian images
    torch.testing.assert_close(latent, (x + 0.07 * noise(3)[0]) * shrink(0.07, 80), rtol=2e-4, atol=1e-3)


def test_image_i_uses_the_noise_of_seed_plus_i(model):
    images = samplers.generate(model, 3, seed=5, size=(8, 8))
    expected = torch.stack([80 * noise(5 + i)[0] * shrink(80, 0.002) for i in range(3)]).clamp(-1, 1)
    torch.testing.assert_close(images, expected, rtol=0, atol=2e-4)
    assert torch.equal(samplers.generate(model, 1, seed=7, size=(8, 8)), images[2:])


def test_zigzag_adds_the_published_noise_between_its_traversals(model):
    first, second = noise(0, draws=2)
    clean = 80 * first * shrink(80, 0.002)
    expected = (clean + 0.1 * second) * shrink(0.1, 1.2) * shrink(1.2, 0.002)
    images = samplers.generate(model, 1, "zigzag-3", size=(8, 8))
    torch.testing.assert_close(images[0], expected.clamp(-1, 1), rtol=0, atol=3e-4)


@pytest.mark.parametrize(("nfe", "calls"), [(2, [(0.07, 80), (80, 0.002)]), (3, [(0.07, 15), (15, 80), (80, 0.002)])])
def test_reconstruction_mse_is_in_units_from_black_to_white(model, nfe, calls):
    x = (0.3 * torch.randn(2, 3, 8, 8)).clamp(-0.9, 0.9)
    found = samplers.reconstruct(model, x, nfe, seed=1)
    assert model.network.calls == calls
    expected = (x + 0.07 * noise(1)[0]) * shrink(0.07, 0.002)
    torch.testing.assert_close(found.image, expected.clamp(-1, 1), rtol=0, atol=5e-4)
    unit = (found.image.double() + 1) / 2 - (x.double() + 1) / 2
    torch.testing.assert_close(found.mse.double(), unit.square().flatten(1).mean(1), rtol=1e-5, atol=0)
    assert found.scheme.nfe == nfe


def test_any_scheme_is_a_schedule(model):
    samplers.generate(model, 1, "noise 10, to 1, to 0", size=(4, 4))
    samplers.invert(model, torch.zeros(1, 3, 4, 4), schemes.parse("noise 0.5, to 30"))
    samplers.reconstruct(model, torch.zeros(1, 3, 4, 4), "noise 0.2, to 5, to 0")
    assert model.network.calls == [(10, 1), (1, 0.002), (0.5, 30), (0.2, 5), (5, 0.002)]


def test_labels_per_batch_and_per_image(model):
    same = samplers.generate(model, 2, label=4, size=(8, 8))
    each = samplers.generate(model, 2, label=[4, 1], size=(8, 8))
    samplers.generate(model, 2, size=(8, 8))
    assert model.network.labels == [[4, 4], [4, 1], None]
    assert torch.equal(each[0], same[0])
    # the class is the mean of its images
    difference = (same[1] - each[1])[(same[1].abs() < 0.99) & (each[1].abs() < 0.99)]
    torch.testing.assert_close(difference, torch.full_like(difference, 0.3), rtol=0, atol=1e-2)
    x = torch.zeros(2, 3, 8, 8)
    samplers.invert(model, x, label=2)
    samplers.reconstruct(model, x, label=[2, 3])
    assert model.network.labels[3:] == [[2, 2], [2, 3], [2, 3]]


def test_size_is_the_networks_own(model):
    assert samplers.generate(model, 1).shape == (1, 3, 64, 64)
    model.network.size = 16
    assert samplers.generate(model, 1).shape == (1, 3, 16, 16)


def test_default_model():
    from bcm_restore import load_model

    model = load_model(device="cpu")
    images = samplers.generate(model, 2, "zigzag-3", size=(24, 40))
    assert images.shape == (2, 3, 24, 40)
    assert images.abs().max() <= 1
    assert samplers.reconstruct(model, images, 2).mse.max() < 0.25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: samplers.generate(m, 1, "zigzag-2"), "schedule 'zigzag-2' is not known; did you mean 'zigzag-3'"),
        (lambda m, x: samplers.invert(m, x, "inverse"), "schedule 'inverse' is not known"),
        (lambda m, x: samplers.generate(m, 1, "to 0"), 'does not start from noise; begin it with "noise 80"'),
        (lambda m, x: samplers.generate(m, 1, "noise 80, to 1"), "leaves noise in the image"),
        (lambda m, x: samplers.generate(m, 1, "noise 80, to 0, fit"), "'fit' needs measurements"),
        (lambda m, x: samplers.invert(m, x, "noise 1 hole, to 80"), "'noise 1 hole' needs measurements"),
        (lambda m, x: samplers.generate(m, 1, "noise 90, to 0"), "levels end at 80"),
        (lambda m, x: samplers.generate(m, 1, "noise 80, go 0"), "character 11: 'go' is not a move"),
        (lambda m, x: samplers.reconstruct(m, x, 4), "the published round trips have NFE 2 and 3, not 4"),
        (lambda m, x: samplers.reconstruct(m, x, "noise 0.07, to 80"), "leaves noise in the image"),
        (lambda m, x: samplers.generate(m, 1, label=10), "no label 10; the model's classes are 0 to 9"),
    ],
)
def test_invalid_arguments_are_refused(model, call, message):
    with pytest.raises(RestoreError, match=message.replace("(", r"\(")):
        call(model, torch.zeros(1, 3, 8, 8))
    assert model.nfe == 0
