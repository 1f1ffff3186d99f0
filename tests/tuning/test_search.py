"""The search space and the search of `tune`."""

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bcm_restore import schemes, tasks, weights
from bcm_restore.simulation.degradations import VARIANTS
from bcm_restore.tuning.scores import Metric
from bcm_restore.tuning.search import Search, Trial, frontier
from bcm_restore.tuning.search_space import SearchSpace, Stage, evaluations, plan_of, scheme_of

# The search space


@st.composite
def plans(draw):
    levels = sorted(draw(st.sets(st.integers(5, 900), min_size=1, max_size=8)), reverse=True)
    unit = draw(st.booleans())
    starts = st.sampled_from(
        [
            ("level", 0.0, 1),
            ("level", 1.2, 1),
            ("level", 1.2, 0.3),
            ("noise", 0.0, 1),
            ("noise", 0.0, 0.0),
            ("hole", 0.0, 1),
        ]
    )
    stages = []
    for level in levels:
        start, ratio, eta = draw(starts)
        move, count = draw(st.one_of(st.just(("to 0", 1)), st.tuples(st.just("mean"), st.integers(1, 8))))
        stages.append(Stage(level / 100, start, ratio, move, unit, eta, orientations=count))
    plan = tuple(stages)
    assume(SearchSpace(highest=1000.0).allows(plan))
    return plan


@given(plans())
def test_plans_convert_to_schemes_and_back(plan):
    scheme = scheme_of(plan)
    assert scheme.nfe == evaluations(plan)
    assert scheme.ends_clean
    assert schemes.parse(str(scheme)) == scheme
    back = plan_of(scheme)
    assert [replace(s, ratio=0.0) for s in back] == [replace(s, ratio=0.0) for s in plan]
    assert [s.ratio for s in back] == pytest.approx([s.ratio for s in plan], rel=0.01)
    assert scheme_of(back) == scheme


@pytest.mark.parametrize(
    "text",
    [
        "noise 0.5, to 3, to 0, fit",
        "level 0, noise 0.4, to 0, fit",
        "level 0.5t0, noise 0.4, to 0, fit",
    ],
)
def test_other_schemes_are_not_plans(text):
    assert plan_of(schemes.parse(text)) is None


def test_the_last_fit_may_be_missing_where_measurements_are_noisy():
    ends, early = (plan_of(schemes.parse(f"level 3t0, mean{fit}, level 1t0, mean")) for fit in (", fit", ""))
    assert [stage.fit for stage in ends] == [True, False]
    assert str(scheme_of(ends)) == "level 3t0, mean, fit, level 1t0, mean"
    clean, noisy = SearchSpace(relative=True), SearchSpace(relative=True, noisy=True)
    assert [space.allows(plan) for space in (clean, noisy) for plan in (ends, early)] == [False, False, True, False]
    assert [stage.fit for stage in noisy.extend(ends, 3)] == [True, True, False]
    assert replace(ends[1], fit=True) in list(noisy.flips(ends[1]))
    assert all(stage.fit for stage in clean.flips(ends[0]))


def test_every_default_scheme_is_a_plan():
    for name in {*VARIANTS} - {"denoise"}:  # which has one evaluation and no `level`
        for table in tasks.get(name).schemes()[weights.DEFAULT].values():
            assert all(plan_of(scheme) is not None for scheme in table.values())


spaces = st.builds(
    lambda relative, means, holes: SearchSpace(relative, means, holes and not relative, 4.0 if relative else 80.0),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(spaces, st.integers(1, 9))
def test_starts_have_the_nfe_and_only_moves_of_the_model(space, nfe):
    starts = space.starts(nfe)
    assert starts
    for plan in starts:
        scheme = scheme_of(plan)
        assert scheme.nfe == nfe
        assert space.allows(plan)
        assert space.means or "mean" not in str(scheme)
        assert space.holes or "hole" not in str(scheme)
        assert len(space.extend(plan, nfe + 2)) == nfe + 2
        for stage in plan:
            for other in space.flips(stage):
                assert other != stage
                assert scheme_of((replace(stage, eta=1.0), other)).nfe == 2
                assert space.means or other.move == stage.move
                assert space.holes or other.start != "hole"


@given(plans(), st.integers(1, 30))
def test_plans_are_extended_and_truncated_to_a_number_of_evaluations(plan, nfe):
    extended = SearchSpace().extend(plan, nfe)
    assert evaluations(extended) == nfe
    kept = min(len(plan), len(extended)) - 1
    assert extended[:kept] == plan[:kept]


@given(plans())
def test_trades_keep_the_number_of_evaluations(plan):
    for other in SearchSpace().trades(plan):
        assert other != plan and evaluations(other) == evaluations(plan)
        assert all(stage.move == "mean" for stage in other if stage.orientations > 1)


def test_a_stage_is_traded_for_an_orientation():
    plan = plan_of(schemes.parse("level 0.4, mean 2, fit, level 0.2, to 0, fit"))
    assert [str(scheme_of(other)) for other in SearchSpace().trades(plan)] == ["level 0.4, mean 3, fit"]


def test_search_finds_the_orientations_that_are_better():
    wanted = schemes.parse("level 0.5, mean 3, fit, level 0.1, mean, fit")

    def evaluate(scheme):
        counts = [[move.orientations for move in each.moves if move.nfe] for each in (scheme, wanted)]
        return Trial(scheme, 10.0 - sum(abs(a - b) for a, b in itertools.zip_longest(*counts, fillvalue=0)))

    search = Search(evaluate, SearchSpace())
    search.run(
        [schemes.parse("level 0.5, mean, fit, level 0.3, mean, fit, level 0.2, mean, fit, level 0.1, mean, fit")]
    )
    assert [move.orientations for move in search.best.scheme.moves if move.nfe] == [3, 1]


def test_starts_have_holes_if_the_model_has_level_maps():
    texts = [str(scheme_of(plan)) for plan in SearchSpace(holes=True).starts(2)]
    assert any(text.startswith("noise 80 hole, mean, fit, level") for text in texts)
    assert not any("hole" in str(scheme_of(plan)) for plan in SearchSpace().starts(2))


def test_starts_of_a_model_with_mean_and_level_maps():
    starts = [str(scheme_of(plan)) for plan in SearchSpace(holes=True).starts(4)]
    assert (
        "noise 80 hole, mean, fit, level 0.2, noise 0.24, mean, fit, level 0.1, noise 0.12, mean, fit, "
        "level 0.05, mean, fit"
    ) in starts
    assert "level 0.4, mean, fit, level 0.213, mean, fit, level 0.113, mean, fit, level 0.06, mean, fit" in starts
    assert "level 0.4, noise 0.48, mean, fit, level 0.06, mean, fit" in [
        str(scheme_of(plan)) for plan in SearchSpace().starts(2)
    ]


def test_holes_are_parsed_with_and_without_a_fit():
    one, other = (plan_of(schemes.parse(f"noise 80 hole, mean{fit}, level 0.2, mean, fit")) for fit in ("", ", fit"))
    assert one == other == (Stage(80.0, "hole", move="mean"), Stage(0.2, move="mean"))


def test_renoise_needs_noise_that_was_removed_at_all_pixels():
    first, renoise, hole = Stage(0.5), Stage(0.3, "noise", eta=0.3), Stage(2.0, "hole")
    assert SearchSpace().allows((first, renoise))
    assert not SearchSpace().allows((renoise,))
    space = SearchSpace(holes=True)
    assert space.allows((hole, first, renoise))
    assert space.allows((hole, Stage(0.5, ratio=1.2, eta=0.3)))
    assert not space.allows((hole, renoise))
    assert not space.allows((hole, Stage(0.5, "noise"), renoise))


# The search


def valley(targets, moves):
    """A score with a single optimum: those levels, without noise, with those moves, each of one evaluation."""
    evaluated = []

    def evaluate(scheme):
        evaluated.append(scheme)
        plan = plan_of(scheme)
        if len(plan) != len(targets):
            return Trial(scheme, 0.0, {"psnr": 0.0})
        off = sum(math.log(stage.level / target) ** 2 for stage, target in zip(plan, targets, strict=True))
        off += sum(0.1 * (stage.move != move) for stage, move in zip(plan, moves, strict=True))
        off += sum(0.1 * bool(stage.ratio) for stage in plan)
        return Trial(scheme, 30 - off, {"psnr": 30 - off})

    return evaluate, evaluated


@pytest.mark.parametrize(
    "start", ["level 1, noise 1.2, to 0, fit, level 0.02, mean, fit", "level 5, mean, fit, level 3, to 0, fit"]
)
def test_search_finds_the_only_optimum(start):
    evaluate, evaluated = valley((0.7, 0.09), ("mean", "to 0"))
    search = Search(evaluate, SearchSpace())
    search.run([schemes.parse(start)])
    best = plan_of(search.best.scheme)
    assert [stage.level for stage in best] == pytest.approx([0.7, 0.09], rel=0.1)
    assert [(stage.move, stage.ratio) for stage in best] == [("mean", 0), ("to 0", 0)]
    assert len(evaluated) == len(set(evaluated)) == len(search.trials)  # no scheme is evaluated twice


@pytest.mark.slow
@settings(deadline=None)
@given(spaces, st.integers(1, 4), st.integers(0, 99))
def test_all_trials_have_the_given_nfe(space, nfe, seed):
    scores = np.random.default_rng(seed)
    tried = []

    def evaluate(scheme):
        tried.append(scheme)
        return Trial(scheme, scores.random())

    Search(evaluate, space).run([scheme_of(plan) for plan in space.starts(nfe)])
    assert {scheme.nfe for scheme in tried} == {nfe}
    for scheme in tried:
        assert space.allows(plan_of(scheme))


def test_search_without_time_evaluates_only_the_first_start():
    evaluate, evaluated = valley((0.7,), ("to 0",))
    search = Search(evaluate, SearchSpace(), deadline=time.monotonic() - 1)
    search.run([schemes.parse("level 0.1, to 0, fit"), schemes.parse("level 0.2, to 0, fit")])
    assert list(map(str, evaluated)) == ["level 0.1, to 0, fit"]
    assert search.best.scheme == evaluated[0]


def test_search_avoids_artefacts_in_flat_areas():
    evaluate, _ = valley((0.7,), ("to 0",))

    def strict(scheme):
        flat_error = plan_of(scheme)[0].level / 0.4
        return replace(
            trial := evaluate(scheme),
            score=Metric((("psnr", 1.0),)).score(trial.values, flat_error),
            flat_error=flat_error,
        )

    found = []
    search = Search(strict, SearchSpace(), on_best=found.append)
    search.run([schemes.parse("level 0.8, to 0, fit")])
    assert 0.3 < plan_of(search.best.scheme)[0].level <= 0.4
    assert [trial.penalised for trial in found][:1] == [True]
    assert found[-1] == search.best


def test_search_scores_schemes_outside_the_search_space():
    scheme = schemes.parse("noise 0.5, to 3, to 0, fit")
    search = Search(lambda scheme: Trial(scheme, 1.0), SearchSpace())
    search.run([scheme])
    assert list(search.trials) == [scheme]


def test_frontier_has_the_unbeaten_trials():
    def trial(score, flat_error=0.0, **values):
        return Trial(schemes.parse("level 0.3, to 0, fit"), score, values, flat_error)

    good, sharp, beaten = trial(3, psnr=30, lpips=0.3), trial(2, psnr=29, lpips=0.1), trial(1, psnr=29, lpips=0.2)
    grid = trial(-2000, flat_error=2.0, psnr=50, lpips=0.0)
    assert frontier([beaten, grid, sharp, good], {"psnr": 1, "lpips": -1}) == [good, sharp]
    assert frontier([beaten, grid, sharp, good], {"psnr": 1}) == [good]
    assert frontier([grid], {"psnr": 1}) == [grid]
