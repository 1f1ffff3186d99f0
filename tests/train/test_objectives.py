"""The objectives against distributions whose flow is known exactly."""

import functools
import itertools
import math

import pytest
import torch
from helpers import toys
from helpers.toys import Around, ExactF, batch_of, flow, half_known, uniform_levels
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet
from bcm_restore.train.levels import Levels, pseudo_huber
from bcm_restore.train.objectives import (
    SOFT,
    bct,
    diffusion,
    diffusion_target,
    discretisation,
    draw_known,
    flow_map,
    in_hole,
    interval_probabilities,
    karras_levels,
    semigroup_target,
    soft,
)

GENERATOR = torch.Generator()
with_round_trips = functools.partial(flow_map, diagonal=0.25, round_trips=0.5)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def normal_images(count, s, side=1):
    return s * torch.randn(count, 3, side, side)


def shifted(by):
    """Shifts F by a constant."""
    return lambda *inputs: by


def in_known_pixels(by):
    """Shifts F only where the level maps differ from the image's level."""
    return lambda x, t, u, maps: by * (maps.amin(1, keepdim=True) < -1e-3)


@pytest.mark.parametrize("s", [0.3, 0.5, 1.2])
@pytest.mark.parametrize(("t", "u"), toys.LEVELS)
def test_the_exact_network_gives_the_exact_flow_map(s, t, u):
    x = torch.randn(16, 3, 1, 1) * math.hypot(s, t)
    got = flow(ExactF(s)).traverse(x, uniform_levels(t, count=16), uniform_levels(u, count=16))
    torch.testing.assert_close(got, toys.gaussian_flow(x, t, u, s), rtol=2e-4, atol=2e-5 * u)


@settings(deadline=None, max_examples=60)
@given(st.floats(math.log(0.002), math.log(80)), st.floats(math.log(0.002), math.log(80)), st.booleans())
def test_the_semigroup_target_of_the_exact_map_is_the_exact_f(log_t, log_u, mapped):
    images = normal_images(4, 0.3, side=4)
    known = half_known(4) & mapped
    map_ = flow(ExactF(0.3))
    t, u = (map_.levels(torch.full((4,), math.exp(v)).clamp(0.002, 80), known) for v in (log_t, log_u))
    x = images + t.pixel * torch.randn_like(images)
    target, hole = semigroup_target(map_, x, t, u, known), ~known.expand_as(x)
    torch.testing.assert_close(target[hole], map_.F(x, t, u)[hole], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("s", [0.3, 0.5, 1.2])
def test_the_semigroup_loss_is_zero_only_at_the_exact_map(s, mapped):
    batch = batch_of(normal_images(200, s, side=4), half_known(200) & mapped)
    exact = flow(ExactF(s))
    assert flow_map(exact, exact, batch, diagonal=0.0)["semigroup"] < 1e-10
    off = flow_map(flow(Around(exact.network, shifted(0.1))), exact, batch, diagonal=0.0)["semigroup"]
    assert off.item() == pytest.approx(0.01, rel=1e-3)


def test_the_semigroup_loss_is_positive_for_a_map_without_the_property():
    wrong = flow(Around(ExactF(0.3), lambda x, t, u, maps: 0.3 * (t != u).view(-1, 1, 1, 1)))
    batch = batch_of(normal_images(400, 0.3))
    assert flow_map(wrong, wrong, batch, diagonal=0.0)["semigroup"] > 1e-3


@pytest.mark.parametrize("mapped", [False, True])
def test_round_trips_of_the_exact_map_change_nothing(mapped):
    exact = flow(ExactF(0.3))
    batch = batch_of(normal_images(300, 0.3, side=4), half_known(300) & mapped)
    assert soft(exact, exact, batch) < 1e-9


def test_the_loss_of_round_trips_is_what_an_error_on_the_way_up_leaves_at_the_end():
    """Up, F is shifted; the exact way down scales what that has moved."""
    off = Around(ExactF(0.3), lambda x, t, u, maps: 0.1 * (u > 0.0021).view(-1, 1, 1, 1))
    loss = soft(flow(off), flow(ExactF(0.3)), batch_of(normal_images(300, 0.3)))
    (_, t, u, _), (_, turn, end, _) = off.calls
    assert torch.equal(u, turn) and (end == 0.002).all()
    t, u = t.double(), u.double()
    moved = 0.1 * 0.5 * (u - t) / (t**2 + 0.25).sqrt()
    left = moved * ((0.09 + 0.002**2) / (0.09 + u**2)).sqrt()
    assert loss.item() == pytest.approx((left / 0.5).square().mean().item(), rel=1e-3)


def test_round_trips_train_both_halves():
    up, down = (torch.full((), 0.1, requires_grad=True) for _ in range(2))
    off = Around(ExactF(0.3), lambda x, t, u, maps: torch.where(u > 0.0021, up, down).view(-1, 1, 1, 1))
    slopes = torch.autograd.grad(soft(flow(off), flow(ExactF(0.3)), batch_of(normal_images(300, 0.3))), [up, down])
    assert all(abs(slope) > 0.01 for slope in slopes)


def test_round_trips_start_at_low_levels_and_half_of_them_stop_on_the_way():
    student, target, clean = Around(ExactF(0.3)), Around(ExactF(0.3)), normal_images(4000, 0.3)
    soft(flow(student), flow(target), batch_of(clean))
    (x, s, end, _), (_, _, t, _) = target.calls
    (at_t, start, u, _), _ = student.calls
    assert (end == 0.002).all() and torch.equal(start, t)
    assert s.log().mean().item() == pytest.approx(-2.4, abs=0.05)
    assert (t == s).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert (u == 80).float().mean().item() == pytest.approx(0.6, abs=0.04)
    assert ((s <= t) & (t <= u * 1.0001)).all()
    # the networks' inputs are scaled to standard deviation 1 at sigma_data
    scale = lambda level: (level**2 + 0.25).sqrt().view(-1, 1, 1, 1)  # noqa: E731
    moved = toys.gaussian_flow(x * scale(s), s.view(-1, 1, 1, 1), t.view(-1, 1, 1, 1), 0.3)
    torch.testing.assert_close(at_t * scale(t), moved, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("t", [0.05, 0.3, 4.0])
@pytest.mark.parametrize("s", [0.3, 0.5])
def test_the_diffusion_loss_is_minimal_at_the_posterior_mean(s, t):
    clean = normal_images(60000, s)
    one_level = {"mean": math.log(t), "deviation": 0.0}

    def loss(by):
        return diffusion(flow(Around(ExactF(s), shifted(by))), None, batch_of(clean), **one_level)["diagonal"].item()

    # The target is x_0 sqrt(t^2 + sigma_data^2) / (t sigma_data) plus a function of x_t; the variance of x_0 given x_t
    # is s^2 t^2 / (s^2 + t^2).
    least = (t**2 + 0.25) * s**2 / (0.25 * (s**2 + t**2))
    assert loss(0.0) == pytest.approx(least, rel=0.015)
    assert loss(0.2) - loss(0.0) == pytest.approx(0.04, abs=0.006)
    assert loss(-0.2) - loss(0.0) == pytest.approx(0.04, abs=0.006)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.002, 80.0))
def test_the_mean_of_the_diagonal_target_is_the_clean_image(t):
    clean, noise = torch.randn(2, 3, 2, 2) / 2, torch.randn(2, 3, 2, 2)
    levels = Levels(torch.full((2,), t), torch.full((2, 1, 2, 2), t))
    target = diffusion_target(flow(None), clean, noise, levels)
    model = BCM(Around(torch.nn.Identity()), device="cpu")
    model.network.forward = lambda *inputs: target.clone()
    torch.testing.assert_close(model.mean(clean + t * noise, t), clean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("s", [0.3, 0.5])
def test_bct_is_stationary_at_the_exact_map(s):
    """With the same noise at both levels the two sides never agree, but the mean gradient is zero."""
    exact = flow(ExactF(s))
    batch = lambda: batch_of(normal_images(3000, s), progress=1.0)  # noqa: E731
    size = torch.zeros((), requires_grad=True)

    def slope(at):
        change = lambda x, t, u, maps: (at + size) * torch.sin(2 * torch.atan(2 * t)).view(-1, 1, 1, 1) * x  # noqa: E731
        torch.manual_seed(1)
        consistency = bct(flow(Around(exact.network, change)), exact, batch())["consistency"]
        return torch.autograd.grad(consistency, size)[0].item()

    below, least, above = slope(-0.1), slope(0.0), slope(0.1)
    assert below < 0 < above
    assert abs(least) < 0.1 * min(-below, above)


@pytest.mark.parametrize("mapped", [False, True])
def test_the_soft_loss_of_bct_is_zero_only_at_the_exact_map(mapped):
    exact = flow(ExactF(0.3))
    batch = batch_of(normal_images(500, 0.3, side=4), half_known(500) & mapped)
    assert bct(exact, exact, batch)["soft"] < 1e-3
    wrong = flow(Around(exact.network, lambda x, t, u, maps: 0.1 * (u > 0.01).view(-1, 1, 1, 1)))
    assert bct(wrong, wrong, batch)["soft"] > 0.01


def test_bct_compares_adjacent_levels_with_the_same_noise_and_their_weight():
    """Both levels and both noises follow from the two networks' inputs."""
    student, target = (Around(ExactF(0.5)) for _ in range(2))
    clean = normal_images(300, 0.5)
    terms = bct(flow(student), flow(target), batch_of(clean), first=10, last=10)
    (x, t, end, _), (_, t_again, other, _) = student.calls
    (_, back, back_to, _), (y, lower, lower_end, _) = target.calls
    grid = karras_levels(11, 0.002, 80.0).float()
    at, below, elsewhere = (torch.searchsorted(grid * 0.9999, v) - 1 for v in (t, lower, other))
    assert torch.equal(at, below + 1) and torch.equal(t, t_again) and torch.equal(back, other)
    assert (elsewhere != at).all() and (elsewhere < at).any() and (elsewhere > at).any()
    assert all(torch.equal(level, torch.full_like(t, 0.002)) for level in (end, back_to, lower_end))
    column = lambda v: v.view(-1, 1, 1, 1)  # noqa: E731
    x, y = x * column(t**2 + 0.25).sqrt(), y * column(lower**2 + 0.25).sqrt()
    torch.testing.assert_close((x - clean) / column(t), (y - clean) / column(lower), rtol=2e-2, atol=2e-2)
    distance = (
        toys.gaussian_flow(x, column(t), 0.002, 0.5) - toys.gaussian_flow(y, column(lower), 0.002, 0.5)
    ).double()
    c = 0.00054 * math.sqrt(3)
    huber = (distance.square().sum((1, 2, 3)) + c**2).sqrt() - c
    expected = (huber / math.sqrt(3) / (t - lower)).mean().item()
    assert terms["consistency"].item() == pytest.approx(expected, rel=1e-2)


def test_the_soft_term_of_bct_is_weighted_by_distance_and_trains_the_first_half_only():
    """With F shifted on the way to t', but not on the way to sigma_min, the two ends differ by a known amount."""
    to_end = torch.zeros((), requires_grad=True)
    off = Around(ExactF(0.3), lambda x, t, u, maps: torch.where(u > 0.0021, 0.1, to_end).view(-1, 1, 1, 1))
    soft = bct(flow(off), flow(ExactF(0.3)), batch_of(normal_images(300, 0.3)), mean=0.0, deviation=0.5)["soft"]
    (_, t, _, _), (_, _, other, _) = off.calls
    t, u = t.double(), other.double()
    assert (u > 0.0021).all()
    moved = 0.1 * 0.5 * (t - u).abs() / (t**2 + 0.25).sqrt()
    apart = moved * ((0.09 + 0.002**2) / (0.09 + u**2)).sqrt()
    c = 0.00054 * math.sqrt(3)
    expected = (((3 * apart**2 + c**2).sqrt() - c) / math.sqrt(3) / (t - u).abs()).mean().item()
    assert soft.item() == pytest.approx(expected, rel=1e-3)
    assert torch.autograd.grad(soft, to_end, allow_unused=True)[0] in (None, torch.zeros(()))


@pytest.mark.parametrize("objective", [diffusion, flow_map, with_round_trips, bct])
def test_no_objective_trains_its_target_network(objective):
    student, target = toys.Linear(), toys.Linear()
    terms = objective(flow(student), flow(target.requires_grad_(False)), batch_of(normal_images(64, 0.5)))
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


@pytest.mark.parametrize("objective", [diffusion, flow_map, with_round_trips, bct])
def test_known_pixels_do_not_change_the_loss(objective):
    clean, known = normal_images(100, 0.3, side=4), half_known(100)
    plain, changed = (
        objective(flow(Around(ExactF(0.3), change)), flow(Around(ExactF(0.3), change)), batch_of(clean, known))
        for change in (None, in_known_pixels(5.0))
    )
    assert plain == changed
    in_the_hole = Around(ExactF(0.3), lambda x, t, u, maps: 5.0 * (maps.amin(1, keepdim=True) > -1e-3))
    hole = objective(flow(in_the_hole), flow(in_the_hole), batch_of(clean, known))
    assert all(hole[name] != plain[name] for name in plain)


def test_the_loss_of_an_image_is_the_mean_over_its_hole():
    squares = torch.arange(24.0).view(2, 3, 2, 2)
    known = torch.tensor([[[[True, False], [False, True]]], [[[True, True], [True, False]]]])
    first = (1 + 2 + 5 + 6 + 9 + 10) / 6
    second = (15 + 19 + 23) / 3
    assert in_hole(squares, batch_of(squares, known)).tolist() == pytest.approx([first, second])


@pytest.mark.parametrize("objective", [diffusion, flow_map, with_round_trips, bct])
def test_level_maps_are_relative_to_the_level_of_the_image(objective):
    network, known = Around(ExactF(0.3)), half_known(50)
    objective(flow(network), flow(network), batch_of(normal_images(50, 0.3, side=4), known))
    assert network.calls
    for _, t, u, maps in network.calls:
        expected = torch.stack([torch.log(0.002 / level) for level in (t, u)], 1).view(-1, 2, 1, 1) * known[: len(t)]
        torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-5)


def test_traverse_keeps_known_pixels():
    known, x = half_known(5), torch.randn(5, 3, 4, 4)
    map_ = flow(Around(ExactF(0.3), shifted(7.0)))
    t, u = (map_.levels(torch.tensor(v), known) for v in ([0.1, 3, 80, 0.002, 9], [80.0, 2, 0.002, 1, 9]))
    y = map_.traverse(x, t, u)
    where = known.expand_as(x)
    assert torch.equal(y[where], x[where])
    assert not torch.isclose(y[:4], x[:4])[~where[:4]].any()


def test_diffusion_puts_the_given_share_of_holes_at_sigma_max():
    known = half_known(4000)
    known[2000:] = False
    network = Around(ExactF(0.3))
    diffusion(flow(network), None, batch_of(torch.zeros(4000, 3, 4, 4), known), filled=0.4)
    t = network.calls[0][1]
    assert (t[:2000] == 80).float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert (t[2000:] == 80).float().mean() < 0.01
    spread = t[2000:].log()
    assert spread.mean().item() == pytest.approx(-1.1, abs=0.12)
    assert spread.std().item() == pytest.approx(1.6, abs=0.1)


def test_flow_map_splits_its_batch_by_the_given_shares():
    network = Around(ExactF(0.3))
    flow_map(flow(network), flow(ExactF(0.3)), batch_of(normal_images(4000, 0.3)), diagonal=0.25)
    (_, t, u, _), (_, diagonal, same, _) = sorted(network.calls, key=lambda call: len(call[1]), reverse=True)
    assert len(t) == 3000 and len(diagonal) == 1000 and torch.equal(diagonal, same)
    assert (u == 0.002).float().mean().item() == pytest.approx(0.45, abs=0.04)
    assert (u == 80).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (t < 0.002).sum() == 0 == (t > 80).sum()
    assert (t == 80).float().mean().item() == pytest.approx(0.15, abs=0.03)


def test_flow_map_gives_round_trips_their_share_and_their_weight():
    wrong, clean = Around(ExactF(0.3), shifted(0.1)), normal_images(40, 0.3)
    terms = flow_map(flow(wrong), flow(ExactF(0.3)), batch_of(clean), diagonal=0.25, round_trips=0.4)
    assert set(terms) == {"diagonal", "round_trips", "semigroup"}
    assert sorted(len(t) for _, t, _, _ in wrong.calls) == [10, 12, 12, 18]
    alone = flow_map(flow(wrong), flow(ExactF(0.3)), batch_of(clean), diagonal=0.0, round_trips=1.0)
    assert alone == {"round_trips": SOFT * soft(flow(wrong), flow(ExactF(0.3)), batch_of(clean))}
    assert "round_trips" in flow_map(flow(wrong), flow(ExactF(0.3)), batch_of(clean), round_trips=0.01)


@pytest.mark.parametrize("diagonal", [0.0, 1.0])
def test_flow_map_with_and_without_the_diagonal_only(diagonal):
    exact = flow(ExactF(0.3))
    terms = flow_map(exact, exact, batch_of(normal_images(10, 0.3)), diagonal=diagonal)
    assert sum(terms.values()).isfinite()


def test_masks_are_drawn_for_the_given_share_of_images():
    clean = torch.zeros(1000, 3, 8, 8)
    assert not draw_known(clean, 0.0, GENERATOR.manual_seed(0)).any()
    assert draw_known(clean, 1.0, GENERATOR).flatten(1).any(1).all()
    assert draw_known(clean, 0.4, GENERATOR).flatten(1).any(1).float().mean().item() == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize("mapped", [False, True])
def test_training_and_inference_use_the_same_map(mapped):
    network = ConvUNet(channels=(8, 8), blocks=(1, 1), middle=1, embedding=16)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    model = BCM(network, device="cpu", level_maps=True)
    known = (torch.rand(4, 1, 8, 8) < 0.5) & mapped
    t, u = torch.tensor([80.0, 0.01, 0.5, 1.0]), torch.tensor([0.002, 80.0, 0.5, 0.1])
    map_ = flow(network)
    x = torch.randn(4, 3, 8, 8) * t.view(-1, 1, 1, 1)
    expected = model.traverse(x, t, u, known if mapped else None)
    got = map_.traverse(x, map_.levels(t, known), map_.levels(u, known))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [2, 11, 1281])
def test_bct_levels_and_interval_probabilities(count):
    levels = karras_levels(count, 0.002, 80.0)
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    expected = [(low + n / (count - 1) * (high - low)) ** 7 for n in range(count)]
    torch.testing.assert_close(levels, torch.tensor(expected, dtype=torch.float64))
    normal = lambda v: 0.5 * (1 + math.erf((math.log(v) + 1.1) / (2.0 * math.sqrt(2))))  # noqa: E731
    mass = [normal(b) - normal(a) for a, b in itertools.pairwise(expected)]
    share = torch.tensor(mass, dtype=torch.float64) / sum(mass)
    torch.testing.assert_close(interval_probabilities(levels, -1.1, 2.0), share)


def test_the_bct_discretisation_doubles_after_equal_parts():
    counts = [discretisation(n / 8, 10, 1280) for n in range(9)]
    assert counts == [11, 21, 41, 81, 161, 321, 641, 1281, 1281]
    assert discretisation(0.124, 10, 1280) == 11
    assert discretisation(0.7, 20, 20) == 21


def test_pseudo_huber():
    x, y = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    x[1, 0] = 2.0
    c = 0.00054 * math.sqrt(12)
    torch.testing.assert_close(pseudo_huber(x, y), torch.tensor([0.0, math.sqrt(16 + c**2) - c]))


TRAINED = {  # objective, options, decay, tolerances (relative error of f, error of the mean in units of s), steps
    "diffusion": (diffusion, {"mean": 0.0, "deviation": 2.5}, 0.0, None, 0.05, 1000),
    "flow-map": (flow_map, {"mean": 0.0, "deviation": 2.5}, 0.98, 0.15, 0.15, 1000),
    "bct": (bct, {"first": 10, "last": 160, "mean": -0.5, "deviation": 2.5}, 0.0, 0.2, None, 1700),
}


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.3, 0.5])
@pytest.mark.parametrize("name", TRAINED)
def test_a_tiny_network_learns_the_flow_of_normal_images(name, s):
    objective, options, decay, of_flow, of_mean, steps = TRAINED[name]
    draw = lambda generator: s * torch.randn(256, 3, 1, 1, generator=generator)  # noqa: E731
    model = toys.train(toys.Linear(), objective, draw, steps=steps, rate=3e-3, decay=decay, **options)
    for t, u in toys.LEVELS:
        x = torch.randn(64, 3, 1, 1) * math.hypot(s, t)
        if of_flow is not None:
            exact = toys.gaussian_flow(x, t, u, s)
            assert (model.traverse(x, t, u) - exact).norm() < of_flow * exact.norm(), (t, u)
        if of_mean is not None:
            error = model.mean(x, t) - toys.gaussian_mean(x, t, s)
            assert error.square().mean().sqrt() < of_mean * s, t


@pytest.mark.slow
def test_a_small_network_learns_the_curved_trajectories_of_a_mixture():
    mixture = toys.Mixture([[0.6, 0.2], [-0.5, -0.3]], 0.1)
    model = toys.train(
        toys.Mlp(2, 64),
        flow_map,
        lambda generator: mixture.draw(320, generator),
        steps=1500,
        rate=3e-3,
        decay=0.98,
        **{"mean": -0.3, "deviation": 2.2},
    )
    for t, u in ((80.0, 0.002), (0.002, 80.0)):
        x = mixture.draw(500, GENERATOR.manual_seed(5)).double().flatten(1)
        x = x + t * torch.randn(500, 2, generator=GENERATOR, dtype=torch.float64)
        exact = mixture.flow(x, t, u)
        got = model.traverse(x.float().view(-1, 2, 1, 1), t, u).double().flatten(1)
        # One step along the exact tangent at t, in the angle of the ODE: to u = 0 that is the posterior mean.
        angle = math.atan(t / 0.5) - math.atan(u / 0.5)
        variance = t**2 + 0.25
        tangent = (mixture.mean(x, t) - 0.25 / variance * x) / (t * 0.5)
        straight = (math.cos(angle) * x / math.sqrt(variance) + math.sin(angle) * tangent) * math.sqrt(u**2 + 0.25)
        assert (got - exact).norm() < (straight - exact).norm() / 4, (t, u)
