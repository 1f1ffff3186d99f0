import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bcm_restore.networks import ConvUNet
from bcm_restore.train.optimizers import Muon, make_optimizers, orthogonalise


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.sampled_from([1e-4, 1.0, 1e3]))
def test_orthogonalise_keeps_the_singular_vectors_and_brings_the_values_near_one(rows, columns, seed, scale):
    u, s, v = torch.linalg.svd(torch.randn(rows, columns, generator=seeded(seed)), full_matrices=False)
    s = s.clamp(min=0.02 * s[0])  # values near zero stay small
    result = orthogonalise(scale * (u * s) @ v)
    assert result.shape == (rows, columns)
    inside = u.T @ result @ v.T
    torch.testing.assert_close(u @ inside @ v, result, atol=1e-3, rtol=0)  # nothing outside their span
    values = inside.diagonal()
    torch.testing.assert_close(inside, values.diag(), atol=5e-3, rtol=0)
    assert values.min() > 0.65 and values.max() < 1.25


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_orthogonalise_equals_the_iteration_on_the_whole_matrix(rows, columns, seed):
    matrix = torch.randn(rows, columns, generator=seeded(seed), dtype=torch.float64)
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    torch.testing.assert_close(orthogonalise(matrix), x, atol=1e-5, rtol=1e-5)


def test_orthogonalise_of_zero_is_zero():
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (30, 2, 1, 1), (5, 5)])
def test_muon_steps_by_the_orthogonalised_nesterov_momentum(shape):
    start = torch.randn(shape, generator=seeded())
    parameter, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = Muon([parameter, other], lr=0.05, momentum=0.9)
    gradients = torch.randn(3, *shape, generator=seeded(1))
    expected, average = start.double(), torch.zeros(shape).double()
    rows, columns = shape[0], start[0].numel()
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        average = 0.9 * average + 0.1 * gradient
        update = orthogonalise((0.1 * gradient + 0.9 * average).reshape(rows, columns))
        expected = expected - 0.05 * max(1.0, rows / columns) ** 0.5 * update.reshape(shape)
    torch.testing.assert_close(parameter.detach().double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(other.detach(), start)  # without a gradient


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([(6, 4), (4, 6), (6, 2, 1, 2), (4, 6, 1, 1), (5, 5)]), min_size=1, max_size=6))
def test_muon_updates_matrices_together_as_it_would_each_alone(shapes):
    parameters = [nn.Parameter(torch.randn(shape, generator=seeded(n))) for n, shape in enumerate(shapes)]
    alone = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    together, each = Muon(parameters, lr=0.05), [Muon([parameter], lr=0.05) for parameter in alone]
    for step in range(3):
        for n, (one, other) in enumerate(zip(parameters, alone, strict=True)):
            gradient = 10.0 ** (n - 2) * torch.randn(one.shape, generator=seeded(100 * step + n))
            one.grad, other.grad = (None, None) if n == step else (gradient.clone(), gradient.clone())
        together.step()
        for optimizer in each:
            optimizer.step()
    for one, other in zip(parameters, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_muon_resumes_exactly_from_its_state():
    gradients = torch.randn(4, 6, 5, generator=seeded())

    def steps(parameter, optimizer, chosen):
        for gradient in chosen:
            parameter.grad = gradient.clone()
            optimizer.step()

    whole = nn.Parameter(torch.ones(6, 5))
    steps(whole, Muon([whole]), gradients)
    half = nn.Parameter(torch.ones(6, 5))
    optimizer = Muon([half])
    steps(half, optimizer, gradients[:2])
    resumed = nn.Parameter(half.detach().clone())
    again = Muon([resumed])
    again.load_state_dict(optimizer.state_dict())
    steps(resumed, again, gradients[2:])
    assert torch.equal(whole, resumed)


@pytest.fixture
def network():
    return ConvUNet(channels=(4, 6), blocks=(1, 1), middle=1, embedding=8)


def test_muon_gets_inner_convolutions_and_adamw_the_rest(network):
    muon, adamw = make_optimizers(network, muon=0.03, adamw=0.002)
    assert isinstance(muon, Muon) and isinstance(adamw, torch.optim.AdamW)
    assert [group["lr"] for group in muon.param_groups + adamw.param_groups] == [0.03, 0.002]
    ids = lambda optimizer: {id(p) for group in optimizer.param_groups for p in group["params"]}  # noqa: E731
    inner = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module not in (network.entrance, network.exit)
    }
    assert ids(muon) == inner and len(inner) == 10  # two in each of four blocks, one down, one up
    assert ids(adamw) == {id(p) for p in network.parameters()} - inner


def test_without_muon_adamw_gets_all_parameters(network):
    (adamw,) = make_optimizers(network, muon=0, adamw=0.002)
    assert isinstance(adamw, torch.optim.AdamW)
    assert len(adamw.param_groups[0]["params"]) == len(list(network.parameters()))


def test_both_descend(network):
    """Steps with and without Muon lower the loss."""
    x, t, target = torch.randn(4, 3, 8, 8), torch.full((4,), 0.5), torch.randn(4, 3, 8, 8)
    for muon in (0.02, 0.0):
        optimizers = make_optimizers(network, muon, 0.003)
        losses = []
        for _ in range(15):
            loss = (network(x, t, t) - target).square().mean()
            losses.append(loss.item())
            network.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        assert losses[-1] < losses[0]
