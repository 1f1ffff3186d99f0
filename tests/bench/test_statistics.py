"""Means, their errors, and paired comparisons."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore.bench.statistics import mean_and_error, paired

NUMBERS = st.floats(-100, 100, width=32)


def named(values):
    return {str(n): value for n, value in enumerate(values)}


def test_mean_and_standard_error_by_hand():
    mean, error = mean_and_error([1.0, 2.0, 6.0])
    assert mean == 3
    assert error == pytest.approx(math.sqrt((4 + 1 + 9) / 2) / math.sqrt(3))
    assert mean_and_error([27.5]) == (27.5, None)
    assert mean_and_error([4.0, 4.0]) == (4, 0)


def test_difference_and_win_rate_by_hand():
    ours = {"a": 30.0, "b": 20.0, "c": 25.0, "d": 10.0, "only here": 99.0}
    reference = {"only there": 0.0, "d": 14.0, "c": 25.0, "b": 19.0, "a": 28.0}
    higher, lower = paired(ours, reference, "higher"), paired(ours, reference, "lower")
    assert higher["difference"] == lower["difference"] == pytest.approx((2 + 1 + 0 - 4) / 4)
    assert higher["win_rate"] == (2 + 0.5) / 4
    assert lower["win_rate"] == (1 + 0.5) / 4


def test_a_single_picture_has_no_interval():
    assert paired({"a": 2.0, "b": 0.0}, {"a": 3.5}, "lower") == {
        "difference": -1.5,
        "low": None,
        "high": None,
        "win_rate": 1.0,
    }


def test_no_pictures_in_common():
    with pytest.raises(ValueError, match="no picture in common"):
        paired({"a": 1.0}, {"b": 1.0}, "higher")


def test_the_interval_is_that_of_all_resamples():
    """Of three values there are only 27 resamples: their mean's quantiles are known."""
    values = [0.0, 1.0, 5.0]
    means = [sum(drawn) / 3 for drawn in itertools.product(values, repeat=3)]
    found = paired(named(values), named([0.0] * 3), "higher")
    # 1/27 of the resamples are (0, 0, 0) and 1/27 are (5, 5, 5): more than 2.5 % at either end
    assert (found["low"], found["high"]) == (min(means), max(means))


def test_the_interval_is_as_wide_as_the_normal_one_for_many_pictures():
    values = np.random.default_rng(1).normal(3, 2, 2000)
    mean, error = mean_and_error(values)
    found = paired(named(values), named(np.zeros(2000)), "higher")
    assert found["low"] == pytest.approx(mean - 1.96 * error, abs=error / 10)
    assert found["high"] == pytest.approx(mean + 1.96 * error, abs=error / 10)


def test_the_interval_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    zeros = named(np.zeros(40))
    found = [paired(named(rng.normal(1, 3, 40)), zeros, "higher", seed) for seed in range(100)]
    assert 88 <= sum(each["low"] <= 1 <= each["high"] for each in found) <= 99


def test_the_interval_depends_on_the_seed():
    ours, reference = named(np.random.default_rng(0).normal(size=(30))), named(np.zeros(30))
    assert paired(ours, reference, "higher", 1) == paired(ours, reference, "higher", 1)
    assert paired(ours, reference, "higher", 1) != paired(ours, reference, "higher", 2)
    turned = dict(reversed(ours.items()))
    assert paired(turned, reference, "higher", 1) == paired(ours, reference, "higher", 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8))
def test_swapping_the_contestants_negates_the_comparison(pairs):
    ours, reference = (named(side) for side in zip(*pairs, strict=True))
    there, back = paired(ours, reference, "higher"), paired(reference, ours, "higher")
    assert there["difference"] == pytest.approx(-back["difference"], abs=1e-9)
    assert there["low"] == pytest.approx(-back["high"], abs=1e-9)
    assert there["win_rate"] + back["win_rate"] == pytest.approx(1)
    assert there["low"] - 1e-9 <= there["difference"] <= there["high"] + 1e-9
    differences = [a - b for a, b in pairs]
    assert min(differences) - 1e-9 <= there["low"] <= there["high"] <= max(differences) + 1e-9
    assert all(type(value) is float for value in there.values())
