"""Teachers' targets, against normal images whose posterior mean is known exactly."""

import math

import pytest
import torch
from helpers import toys
from helpers.toys import Around, ExactF, batch_of, flow, gaussian_teacher, half_known, levels_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.train.objectives import EMPHASIS, diffusion, flow_map
from bcm_restore.train.teachers import Teacher

levels = st.floats(math.log(0.002), math.log(80)).map(math.exp)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def off_by(amount, s):
    """The exact map for normal pixels, with F shifted by a constant."""
    return flow(Around(ExactF(s), lambda *inputs: amount))


def nan_teacher(maps=False, share=1.0):
    """A teacher that returns NaN."""
    return Teacher(lambda x, t: torch.full_like(x, torch.nan), maps, (0.05, 0.5), share, (1.0, 1.0))


@settings(deadline=None, max_examples=40)
@given(levels, st.booleans())
def test_raw_of_mean_inverts_mean(t, mapped):
    x, raw = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    at = levels_of(t, 2 * t, known=half_known(2) & mapped, dtype=torch.float64)
    map_ = flow(None)
    torch.testing.assert_close(map_.raw_of_mean(x, map_.mean(x, raw, at), at), raw, rtol=1e-6, atol=1e-6)
    exact = flow(ExactF(0.3))
    torch.testing.assert_close(
        map_.mean(x, exact.F(x, at, at), at), toys.gaussian_mean(x, at.pixel, 0.3), atol=1e-5, rtol=0
    )


@settings(deadline=None, max_examples=40)
@given(levels, st.booleans(), st.sampled_from([0.3, 0.5, 1.2]))
def test_the_target_of_an_exact_teacher_is_the_exact_f(t, mapped, s):
    at = levels_of(t, t / 2, known=half_known(2) & mapped, dtype=torch.float64)
    x, clean = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    exact = flow(ExactF(s))
    target = gaussian_teacher(s).target(exact, x, at, clean, 0.4)
    torch.testing.assert_close(target.float(), exact.F(x, at, at), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight", [(1.0, 0.25), (0.2, 0.9), (0.0, 0.0)])
@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_the_weight_changes_linearly_over_the_run(weight, progress):
    at, (x, clean) = levels_of(0.3, 0.1), torch.randn(2, 2, 3, 4, 4)
    target = gaussian_teacher(0.3, weight=weight).target(flow(None), x, at, clean, progress)
    exact, share = flow(ExactF(0.3)).F(x, at, at), (1 - progress) * weight[0] + progress * weight[1]
    torch.testing.assert_close(target, share * exact + (1 - share) * clean, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(levels, st.floats(1.1, 100), st.integers(0, 99))
def test_levels_are_log_uniform_in_the_range_of_the_teacher(low, ratio, seed):
    drawn = gaussian_teacher(0.3, levels=(low, low * ratio)).draw(4000, torch.Generator().manual_seed(seed))
    place = (drawn.double() / low).log() / math.log(ratio)
    assert place.min() > -1e-4 and place.max() < 1 + 1e-4  # in float32
    shares = torch.histc(place.clamp(0, 1), 10, 0, 1) / 4000
    assert abs(shares - 0.1).max() < 0.03


@pytest.mark.parametrize("share", [0.0, 0.25, 0.7, 1.0])
def test_the_teacher_gets_its_share_of_the_batch(share):
    teacher, network = gaussian_teacher(0.3, levels=(0.05, 0.5), share=share), Around(ExactF(0.3))
    batch = batch_of(torch.zeros(400, 3, 1, 1), teacher=teacher)
    terms = diffusion(flow(network), None, batch, mean=math.log(10), deviation=0.2)
    t = network.calls[0][1]
    assert ((t >= 0.0499) & (t <= 0.501)).sum() == 400 * share
    assert (t > 2).sum() == 400 * (1 - share)
    assert set(terms) == {"taught", "diagonal"} and sum(terms.values()).isfinite()


def test_flow_map_uses_the_teacher_on_the_diagonal_only():
    teacher, network = gaussian_teacher(0.3, levels=(70.0, 79.0), share=0.25), Around(ExactF(0.3))
    batch = batch_of(0.8 * torch.randn(800, 3, 1, 1), teacher=teacher)
    terms = flow_map(flow(network), flow(ExactF(0.3)), batch, from_max=0.0)
    assert set(terms) == {"taught", "diagonal", "semigroup"}
    assert terms["taught"] < 1e-9 and terms["semigroup"] < 1e-9 < terms["diagonal"]
    (t,) = (t for _, t, u, _ in network.calls if torch.equal(t, u))
    assert len(network.calls) == 2 and len(t) == 400
    assert ((t > 69.9) & (t < 79.1)).sum() == 100


def test_levels_are_clamped_to_those_of_the_map():
    network = Around(ExactF(0.3))
    teacher = gaussian_teacher(0.3, levels=(1e-4, 1e6))
    diffusion(flow(network), None, batch_of(torch.zeros(200, 3, 1, 1), teacher=teacher))
    t = network.calls[0][1]
    assert t.min().item() == pytest.approx(0.002) and t.max() == 80


def test_the_taught_loss_is_zero_at_the_mean_of_the_teacher():
    batch = batch_of(0.8 * torch.randn(4000, 3, 1, 1), teacher=gaussian_teacher(0.3, share=0.5))
    at = {"mean": 0.0, "deviation": 0.0}
    known = diffusion(flow(ExactF(0.3)), None, batch, **at)
    assert known["taught"] < 1e-10
    # at t = 1 the clean images' mean is 0.64 / 1.64 x, of variance 0.64 / 1.64 about it
    apart = (0.64 / 1.64 - 0.09 / 1.09) ** 2 * 1.64
    assert known["diagonal"].item() == pytest.approx((1.25 / 0.25) * (0.64 / 1.64 + apart) / 2, rel=0.05)
    assert diffusion(off_by(0.1, 0.3), None, batch, **at)["taught"].item() == pytest.approx(
        EMPHASIS * 0.01 / 2, rel=1e-3
    )


def test_a_teacher_with_no_share_of_the_batch_does_not_change_the_loss():
    clean = 0.3 * torch.randn(100, 3, 1, 1)
    alone = diffusion(off_by(0.1, 0.3), None, batch_of(clean))
    beside = diffusion(off_by(0.1, 0.3), None, batch_of(clean, teacher=nan_teacher(share=0.0)))
    assert beside["taught"] == 0
    torch.testing.assert_close(beside["diagonal"], alone["diagonal"])


@pytest.mark.parametrize("maps", [False, True])
def test_level_maps_keep_the_clean_target_if_the_teacher_does_not_support_them(maps):
    known = half_known(400)
    known[:100] = False
    batch = batch_of(0.3 * torch.randn(400, 3, 4, 4), known, teacher=gaussian_teacher(0.3, share=0.5, maps=maps))
    exact, off = (diffusion(off_by(by, 0.3), None, batch, filled=0.0) for by in (0.0, 0.1))
    assert exact["taught"] < 1e-9
    taught = 200 if maps else 100
    assert off["taught"].item() == pytest.approx(EMPHASIS * 0.01 * taught / 400, rel=1e-3)
    assert off["diagonal"].isfinite() and exact["diagonal"] > 0.01


def test_the_output_of_a_teacher_without_level_maps_is_not_used_for_them():
    clean = 0.3 * torch.randn(100, 3, 4, 4)
    terms = diffusion(off_by(0.1, 0.3), None, batch_of(clean, half_known(100), teacher=nan_teacher()))
    assert terms["taught"] == 0 and terms["diagonal"].isfinite()


def test_holes_at_sigma_max_keep_the_clean_target():
    network = Around(ExactF(0.3))
    batch = batch_of(0.3 * torch.randn(100, 3, 4, 4), half_known(100), teacher=nan_teacher(maps=True))
    terms = diffusion(flow(network), None, batch, filled=1.0)
    assert (network.calls[0][1] == 80).all()
    assert terms["taught"] == 0 and terms["diagonal"].isfinite()


def test_a_tiny_network_learns_the_mean_of_the_teacher_at_its_levels_only():
    """The teacher's images have another variance than the clean ones."""
    model = toys.train(
        toys.Linear(),
        diffusion,
        lambda generator: 0.8 * torch.randn(256, 3, 1, 1, generator=generator),
        steps=900,
        rate=3e-3,
        decay=0.0,
        teacher=gaussian_teacher(0.3, levels=(0.05, 0.5), share=0.5),
        mean=math.log(3),
        deviation=0.3,
    )
    for t, s, other in ((0.08, 0.3, 0.8), (0.2, 0.3, 0.8), (0.4, 0.3, 0.8), (2.5, 0.8, 0.3), (4.0, 0.8, 0.3)):
        x = torch.randn(200, 3, 1, 1) * math.hypot(0.8, t)
        mean, wrong = (toys.gaussian_mean(x, t, each) for each in (s, other))
        assert (model.mean(x, t) - mean).norm() < 0.25 * (wrong - mean).norm(), t
