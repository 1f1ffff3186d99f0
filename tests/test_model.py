import math
import warnings

import pytest
import torch
from torch import nn

from bcm_restore import model as model_module
from bcm_restore.errors import RestoreError, RestoreWarning
from bcm_restore.model import BCM, Noise, choose_device, choose_dtype
from bcm_restore.networks import Network

SIGMA_DATA = 0.5


class Exact(Network):
    """F of the exact map and mean for Gaussian images of standard deviation s."""

    def __init__(self, s: float = 0.3) -> None:
        super().__init__()
        self.s = s
        self.levels: list[tuple[float, float]] = []

    def forward(self, x, t, u, maps=None):
        self.levels.append((t[0].item(), u[0].item()))
        t, u = (v.double().view(-1, 1, 1, 1) for v in (t, u))
        if maps is not None:
            t, u = t * maps[:, :1].exp(), u * maps[:, 1:].exp()
        variance = t**2 + SIGMA_DATA**2
        z = x * variance.sqrt()  # x before c_in
        diagonal = (
            (z * self.s**2 / (self.s**2 + t**2) - SIGMA_DATA**2 / variance * z) * variance.sqrt() / (t * SIGMA_DATA)
        )
        f = z * ((self.s**2 + u**2) / (self.s**2 + t**2)).sqrt()
        off = (f - (t * u + SIGMA_DATA**2) / variance * z) * variance.sqrt() / (SIGMA_DATA * (t - u))
        return torch.where(t == u, diagonal, off).float()


def make(**options):
    return BCM(Exact(), device="cpu", **options)


@pytest.mark.parametrize(("t", "u"), [(80.0, 0.002), (3.0, 0.4), (0.07, 80.0), (0.5, 15.0)])
def test_traverse_follows_the_exact_trajectory_of_gaussian_images(t, u):
    x = torch.randn(2, 3, 8, 8) * math.hypot(0.3, t)
    expected = x * math.sqrt((0.09 + u**2) / (0.09 + t**2))
    torch.testing.assert_close(make().traverse(x, t, u), expected, rtol=2e-4, atol=1e-6)


def test_traverse_to_the_same_level_is_the_identity():
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(make().traverse(x, 0.7, 0.7), x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("t", [0.01, 0.5, 20.0])
def test_mean_is_the_posterior_mean_of_gaussian_images(t):
    x = torch.randn(2, 3, 8, 8) * math.hypot(0.3, t)
    torch.testing.assert_close(make().mean(x, t), x * 0.09 / (0.09 + t**2), rtol=2e-4, atol=1e-5)


def test_levels_may_differ_between_the_images_of_a_batch():
    x, t = torch.randn(2, 3, 4, 4), torch.tensor([0.2, 3.0])
    together = make().denoise(x, t)
    apart = torch.cat([make().denoise(x[i : i + 1], t[i].item()) for i in range(2)])
    torch.testing.assert_close(together, apart)


def test_denoise_and_invert_are_traverses_to_the_ends():
    model = make()
    x = torch.randn(1, 3, 4, 4)
    model.denoise(x, 2.0)
    model.invert(x, 0.07)
    model.invert(x, 0.07, 15.0)
    expected = torch.tensor([(2.0, 0.002), (0.07, 80.0), (0.07, 15.0)])
    torch.testing.assert_close(torch.tensor(model.network.levels), expected)


def test_every_evaluation_is_counted_and_nothing_else():
    model = make()
    x = torch.randn(4, 3, 4, 4)
    for evaluate in (model.denoise, model.mean, model.invert):
        evaluate(x, 0.5)
    assert model.nfe == 3 == len(model.network.levels)


def test_known_pixels_stay_and_the_rest_follows_its_own_level():
    model = make(level_maps=True)
    x = torch.randn(1, 3, 6, 6)
    known = torch.rand(1, 1, 6, 6) < 0.5
    for result, plain in (
        (model.traverse(x, 3.0, 0.5, known), model.traverse(x, 3.0, 0.5)),
        (model.mean(x, 3.0, known), model.mean(x, 3.0)),
    ):
        assert torch.equal(result[known.expand_as(x)], x[known.expand_as(x)])
        hole = ~known.expand_as(x)
        torch.testing.assert_close(result[hole], plain[hole])


def test_level_maps_are_refused_by_a_model_without_them():
    with pytest.raises(RestoreError, match="level maps"):
        make().traverse(torch.zeros(1, 3, 4, 4), 1.0, 0.1, torch.ones(1, 1, 4, 4, dtype=torch.bool))


def test_mean_is_refused_by_a_model_without_the_diagonal():
    model = make(diagonal=False, name="published")
    with pytest.raises(RestoreError, match="'published' has no posterior mean"):
        model.mean(torch.zeros(1, 3, 4, 4), 1.0)
    assert model.nfe == 0


class Classes(Network):
    """F is the label, everywhere."""

    classes = 1000

    def forward(self, x, t, u, maps=None, labels=None):
        return torch.zeros_like(x) if labels is None else x.new_ones(x.shape) * labels.view(-1, 1, 1, 1)


def test_labels_reach_the_network():
    model, x = BCM(Classes(), device="cpu"), torch.zeros(2, 3, 1, 1)
    c_out = 0.5 * (2 - 0.5) / math.hypot(2, 0.5)
    for label, seen in (([1, 3], [1, 3]), (7, [7, 7]), ("tabby", [281, 281]), (None, [0, 0])):
        out = model.traverse(x, 2.0, 0.5, labels=model.labels(label))
        torch.testing.assert_close(out[:, 0, 0, 0], torch.tensor(seen) * c_out)
    out = model.mean(x, 2.0, labels=model.labels(4))
    torch.testing.assert_close(out[:, 0, 0, 0], torch.full((2,), 4 * 2 * 0.5 / math.hypot(2, 0.5)))


def test_labels_are_refused_by_a_model_without_classes():
    assert make().labels(None) is None
    with pytest.raises(RestoreError, match="the model takes no labels; omit the label"):
        make().labels(3)


def test_noise_is_the_same_in_any_batch():
    alone = [Noise([seed])(torch.empty(1, 3, 5, 7)) for seed in (3, 4)]
    assert torch.equal(Noise([3, 4])(torch.empty(2, 3, 5, 7)), torch.cat(alone))
    assert not torch.equal(*alone)


def test_noise_changes_with_each_call_and_is_reproducible():
    noise, like = Noise([0]), torch.empty(1, 3, 64, 64)
    first, second = noise(like), noise(like)
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.05
    assert torch.equal(Noise([0])(like), first)
    assert abs(first.std() - 1) < 0.02


def test_noise_needs_a_seed_for_each_image():
    with pytest.raises(RestoreError, match="2 images for 1 seeds"):
        Noise([0])(torch.empty(2, 3, 4, 4))


class Weighted(Network):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def test_a_model_returns_from_another_device():
    model = BCM(Weighted(), device="cpu", dtype=torch.bfloat16)
    with pytest.raises(KeyError), model.on("meta"):
        assert {model.device.type, model.network.weight.device.type} == {"meta"}
        assert model.dtype == torch.float32
        model.network = Weighted()  # "meta" keeps no weights to move back
        raise KeyError
    assert {model.device.type, model.network.weight.device.type} == {"cpu"}
    assert model.dtype == torch.bfloat16


def test_device_and_precision_policy():
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype(torch.float16, torch.device("cpu")) == torch.float16  # a torch dtype is used as it is
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(RestoreError, match="device 'gpu' is not known; use auto"):
        choose_device("gpu")
    with pytest.raises(RestoreError, match="precision 'double' is not known; use auto, fp32"):
        choose_dtype("double", torch.device("cpu"))
    with pytest.raises(RestoreError, match="not found"):
        choose_device("cuda:99")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, {"bf16": torch.float32, "fp16": torch.float32}),
        ({"avx512_bf16": True}, {"bf16": torch.bfloat16, "fp16": torch.float32}),
        ({"amx_bf16": True, "avx512_fp16": True}, {"bf16": torch.bfloat16, "fp16": torch.float16}),
        ({"avx512_bf16": False, "bf16": True}, {"bf16": torch.float32, "fp16": torch.float32}),
    ],
)
def test_half_precision_only_where_the_cpu_has_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    for name, dtype in expected.items():
        model_module._warn_of_fp32.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert choose_dtype(name, torch.device("cpu")) == dtype
        messages = [str(each.message) for each in caught if each.category is RestoreWarning]
        assert len(messages) == (dtype == torch.float32)
        assert all(f"this CPU has no fast {name}" in line for line in messages)
    model_module._warn_of_fp32.cache_clear()
