import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore import schemes
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM, Noise
from bcm_restore.networks import Network
from bcm_restore.operators import Mask
from bcm_restore.schemes import Level, Move, Scheme, parse


class Tracing(Network):
    """Records levels and returns F = 0: then f = c_skip x and D = sigma_data^2 / (t^2 + sigma_data^2) x."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[float, float]] = []

    def forward(self, x, t, u, maps=None):
        self.calls.append((round(t[0].item(), 5), round(u[0].item(), 5)))
        return torch.zeros_like(x)


@pytest.fixture
def model():
    return BCM(Tracing(), device="cpu", level_maps=True)


KNOWN = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
KNOWN[..., :8] = True


def execute(text, model, x, **options):
    return schemes.run(parse(text), model, x, Mask(KNOWN), torch.full_like(x, 0.25), Noise([0] * len(x)), **options)


@pytest.mark.parametrize(
    ("text", "nfe"),
    [
        ("noise 0.07, to 80, to 0, fit, noise 0.1, to 1.5, to 0, fit", 4),
        ("level 0.3, mean, fit", 1),
        ("noise 1.1t0, to 0, fit", 1),
        ("noise 3 hole, to 0", 1),
        ("noise 0.5, mean, renoise 0.2 0.3, mean, fit", 2),
        ("noise 0.5, mean 3, fit, level 0.1, mean, fit", 4),
        ("fit", 0),
    ],
)
def test_str_and_nfe(text, nfe):
    scheme = parse(text)
    assert str(scheme) == text
    assert scheme.nfe == nfe


numbers = st.floats(0.003, 79).map(lambda v: float(f"{v:.6g}"))
levels = st.builds(Level, numbers, st.booleans())
moves = st.one_of(
    st.builds(lambda v: Move("level", v), levels),
    st.builds(lambda v, h: Move("noise", v, hole=h), levels, st.booleans()),
    st.builds(lambda v, e: Move("renoise", v, eta=float(f"{e:.6g}")), levels, st.floats(0, 1)),
    st.builds(lambda v: Move("to", v), levels),
    st.sampled_from([Move("mean"), Move("mean", orientations=8), Move("fit")]),
)


@given(st.lists(moves, min_size=1, max_size=6).map(tuple).map(Scheme))
def test_parsing_inverts_str(scheme):
    try:
        parsed = parse(str(scheme))
    except RestoreError as error:
        assert "character" in str(error)
    else:
        assert parsed == scheme


@given(st.text(alphabet="leve noise to mean fit,0.12t80 hole", max_size=40))
def test_any_text_parses_or_raises_one_line(text):
    try:
        assert parse(str(parse(text))) == parse(text)
    except RestoreError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "a move is missing"),
        ("fit 2", 1, "write 'fit'"),
        ("noise 1, mean 2 2", 10, "write 'mean [ORIENTATIONS]'"),
        ("noise 1, mean 9", 10, "'mean' averages over 1 to 8 orientations, not 9"),
        ("noise 1, mean 0", 10, "1 to 8 orientations, not 0"),
        ("noise 1, mean 1.5", 10, "1 to 8 orientations, not 1.5"),
        ("noise 0.1, , fit", 12, "a move is missing"),
        ("noise 0.1, mean,", 17, "a move is missing"),
        ("noise 0.1, men", 12, "did you mean 'mean'?"),
        ("noise 0.1, sharpen", 12, "the moves are level, noise"),
        ("noise", 1, "write 'noise LEVEL [hole]'"),
        ("to 1 2", 1, "write 'to LEVEL'"),
        ("noise a", 1, "'a' is not a number"),
        ("noise -1", 1, "not negative"),
        ("noise nan", 1, "finite"),
        ("noise 0.5, noise 0.2, mean", 12, "cannot lower the level from 0.5"),
        ("noise 0.5, to 0.5", 12, "the level is already 0.5"),
        ("noise 0.5, mean, mean", 18, "nothing to do at level 0"),
        ("noise 0.5, to 0, to 0", 18, "nothing to do at level 0"),
        ("renoise 0.5 0.5", 1, "no evaluation comes before it"),
        ("noise 0.5, to 2, fit, renoise 3 0.4", 23, "'to 2' removed none"),
        ("noise 1, mean, renoise 0.5 2", 16, "between 0 and 1"),
    ],
)
def test_errors_name_the_position(text, position, reason):
    with pytest.raises(RestoreError) as caught:
        parse(text)
    assert f'scheme "{text}", character {position}: ' in str(caught.value)
    assert reason in str(caught.value)


def test_errors_that_depend_on_t0_come_before_any_evaluation(model):
    for text, reason in (
        ("mean", "move 1: 'mean' has nothing to do"),
        ("noise 0.1, mean, noise 90, to 0", "end at 80"),
    ):
        with pytest.raises(RestoreError, match=reason):
            execute(text, model, torch.zeros(1, 3, 16, 16))
    with pytest.raises(RestoreError, match="cannot lower the level from 1t0"):
        execute("noise 0.1, to 0", model, torch.zeros(1, 3, 16, 16), t0=0.2)
    assert model.nfe == 0


@pytest.mark.parametrize(
    ("text", "place", "level", "example"),
    [
        ("level 1.3t0, to 0, fit", 2, "1.3t0 of 'level 1.3t0'", "level 0.5"),
        ("noise 1.3t0, fit, mean", 3, "1.3t0 of 'noise 1.3t0'", "noise 0.5"),
        ("to 1.3t0, to 0", 1, "1.3t0 of 'to 1.3t0'", "to 0.5"),
        ("noise 0.5, noise 2t0, mean", 2, "2t0 of 'noise 2t0'", "noise 0.5"),
    ],
)
def test_multiples_of_a_t0_that_is_0_are_refused_as_such(model, text, place, level, example):
    with pytest.raises(RestoreError) as caught:
        execute(text, model, torch.zeros(1, 3, 16, 16))
    assert str(caught.value) == (
        f'scheme "{text}", move {place}: t0 is 0 in this task, which expects no noise in its first estimate, and so is '
        f"the {level}; give a number, as in '{example}'"
    )


@pytest.mark.parametrize("text", ["noise 1t0, to 1, mean, mean", "mean", "fit, to 0", "to 0.5, mean, fit, to 0"])
def test_other_errors_do_not_mention_t0(model, text):
    with pytest.raises(RestoreError, match="has nothing to do at level 0; put 'noise LEVEL'"):
        execute(text, model, torch.zeros(1, 3, 16, 16))


def test_the_levels_of_each_evaluation(model):
    text = "noise 0.07, to 80, to 0, fit, noise 0.1, to 1.5, mean, level 0.3, mean"
    execute(text, model, torch.zeros(1, 3, 16, 16))
    assert model.network.calls == [(0.07, 80), (80, 0.002), (0.1, 1.5), (1.5, 1.5), (0.3, 0.3)]
    assert model.nfe == parse(text).nfe == 5


def test_levels_in_units_of_t0(model):
    execute("noise 1.5t0, to 0.5t0, mean", model, torch.zeros(1, 3, 16, 16), t0=0.2)
    assert model.network.calls == [(0.3, 0.1), (0.1, 0.1)]


def test_noise_adds_up_to_its_level(model):
    x = torch.zeros(1, 3, 256, 256)
    known = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    out = schemes.run(parse("noise 0.3, noise 0.5"), model, x, Mask(known), x, Noise([0]))
    assert out.std().item() == pytest.approx(0.5, rel=0.01)


def test_the_first_estimate_at_t0_gets_only_the_missing_noise(model):
    x = torch.zeros(1, 3, 16, 16)
    assert torch.equal(execute("noise 1t0", model, x, t0=0.3), x)


def test_noise_in_the_hole_leaves_known_pixels_clean_until_the_end(model):
    x = torch.full((1, 3, 16, 16), 0.5)
    noisy = execute("noise 3 hole", model, x)
    assert torch.equal(noisy[..., :8], x[..., :8])
    assert noisy[..., 8:].std() > 2
    back = execute("noise 3 hole, to 1, to 0", model, x)
    assert torch.equal(back[..., :8], x[..., :8])


def test_level_includes_the_known_pixels_again(model):
    x = torch.full((1, 3, 16, 16), 0.25)
    own = execute("noise 3 hole, mean", model, x)
    assert torch.equal(own[..., :8], x[..., :8])
    everywhere = execute("noise 3 hole, mean, level 0.5, mean", model, x)
    torch.testing.assert_close(everywhere, own / 2)  # D = x / 2 at t = sigma_data, in the known pixels as well


def test_renoise_in_the_hole_leaves_known_pixels_clean(model):
    x = torch.full((1, 3, 16, 16), 0.25)
    again = execute("noise 3 hole, mean, renoise 1 0.5", model, x)
    assert torch.equal(again[..., :8], x[..., :8])
    assert again[..., 8:].std() > 0.1


def test_renoise_without_fresh_noise_repeats_the_denoising_step(model):
    x = torch.randn(1, 3, 16, 16)
    noisy, clean = execute("noise 0.5", model, x), execute("noise 0.5, mean", model, x)
    torch.testing.assert_close(execute("noise 0.5, mean, renoise 0.5 0", model, x), 2 * clean - noisy)


def test_renoise_all_fresh_is_noise(model):
    x = torch.randn(1, 3, 16, 16)
    a = execute("noise 0.5, mean, renoise 0.4 1", model, x)
    torch.testing.assert_close(a, execute("noise 0.5, mean, noise 0.4", model, x))


def test_fit_restores_the_measurements(model):
    out = execute("noise 0.5, mean, fit", model, torch.zeros(1, 3, 16, 16))
    assert torch.equal(out[..., :8], torch.full((1, 3, 16, 8), 0.25))
    assert (out[..., 8:] != 0.25).all()


def test_deepinv_physics_are_accepted(model):
    class Halve:
        def A(self, x):
            return x / 2

        def A_dagger(self, y):
            return 2 * y

    x = torch.zeros(1, 3, 16, 16)
    out = schemes.run(parse("noise 0.5, to 0, fit"), model, x, Halve(), torch.full_like(x, 0.25), Noise([0]))
    torch.testing.assert_close(out, torch.full_like(x, 0.5))


def test_progress_is_called_after_each_evaluation(model):
    calls = []
    execute("noise 0.5, to 1, to 0, fit", model, torch.zeros(1, 3, 16, 16), progress=lambda *a: calls.append(a))
    assert calls == [(1, 2), (2, 2)]


def test_evaluations_of_orientations_are_counted(model):
    calls = []
    x = torch.randn(1, 3, 16, 16)
    out = execute("level 0.5, mean 3, noise 0.2, to 0", model, x, progress=lambda *a: calls.append(a))
    assert calls == [(3, 4), (4, 4)] and model.nfe == 4
    assert torch.equal(out, execute("level 0.5, mean, noise 0.2, to 0", model, x))  # as F is the same in all of them


def test_one_orientation_is_the_default():
    scheme = parse("level 0.5, mean 1")
    assert scheme == parse("level 0.5, mean")
    assert str(scheme) == "level 0.5, mean"


def test_images_in_a_batch_are_independent(model):
    x = torch.randn(3, 3, 16, 16)
    together = schemes.run(parse("noise 0.5, to 0"), model, x, Mask(KNOWN), x, Noise([5, 6, 7]))
    alone = [
        schemes.run(parse("noise 0.5, to 0"), model, x[i : i + 1], Mask(KNOWN), x, Noise([5 + i])) for i in range(3)
    ]
    assert torch.equal(together, torch.cat(alone))


def test_unsupported_models_are_named():
    published = BCM(Tracing(), name="published", device="cpu", diagonal=False)
    x = torch.zeros(1, 3, 16, 16)
    with pytest.raises(RestoreError, match="'published' has no posterior mean; use a scheme with 'to 0'"):
        execute("noise 0.5, mean", published, x)
    with pytest.raises(RestoreError, match="'published' was not trained with level maps"):
        execute("noise 0.5 hole, to 0", published, x)


def test_ends_clean():
    for text, clean in (
        ("noise 1, to 0, fit", True),
        ("noise 1, mean", True),
        ("noise 1, to 0.5", False),
        ("fit", False),
    ):
        assert parse(text).ends_clean is clean
    assert math.isclose(parse("noise 0.25").moves[0].level.at(3), 0.25)
