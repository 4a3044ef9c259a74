"""Paired differences agree with SciPy, with sums over explicit samples, and with Holm's procedure step by step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from segflow.selection.paired import holm, paired_differences

NAN = float("nan")
GENERATOR = np.random.default_rng(3)
BETTER = GENERATOR.uniform(0.6, 0.9, 25)
SCORES = {
    "one": BETTER,
    "two": BETTER - GENERATOR.normal(0.02, 0.03, 25),
    "three": BETTER - GENERATOR.normal(0.0, 0.05, 25),
}


def test_every_pair_in_order():
    found = paired_differences(SCORES)
    assert [(pair.first, pair.second) for pair in found] == [
        ("one", "two"),
        ("one", "three"),
        ("two", "three"),
    ]
    for pair in found:
        ours, theirs = SCORES[pair.first], SCORES[pair.second]
        assert pair.cases == 25
        assert pair.mean == pytest.approx(np.mean(ours) - np.mean(theirs))
        assert pair.p == pytest.approx(stats.wilcoxon(ours, theirs).pvalue)
        assert pair.p <= pair.p_holm <= 3 * pair.p
    expected = stepwise([pair.p for pair in found])
    assert [pair.p_holm for pair in found] == pytest.approx(expected)


def test_the_signed_rank_test_by_counting_all_signs():
    """Exact for few cases: the share of all assignments of signs with a sum of ranks as far from its mean."""
    first, second = np.array([0.9, 0.8, 0.7, 0.95, 0.6]), np.array([0.85, 0.72, 0.71, 0.75, 0.45])
    differences = first - second
    ranks = stats.rankdata(np.abs(differences))
    half = ranks.sum() / 2
    seen = abs(ranks[differences > 0].sum() - half)
    sums = [ranks[[bool(signs >> i & 1) for i in range(5)]].sum() for signs in range(32)]
    (pair,) = paired_differences({"a": first, "b": second})
    assert pair.p == pytest.approx(np.mean([abs(one - half) >= seen - 1e-9 for one in sums]))


def test_the_interval_is_that_of_an_independent_bootstrap():
    (pair, *_) = paired_differences(SCORES)
    differences = (SCORES["one"] - SCORES["two"],)
    other = stats.bootstrap(differences, np.mean, n_resamples=20000, method="percentile", rng=1)
    width = other.confidence_interval.high - other.confidence_interval.low
    assert pair.interval[0] == pytest.approx(other.confidence_interval.low, abs=0.1 * width)
    assert pair.interval[1] == pytest.approx(other.confidence_interval.high, abs=0.1 * width)


def test_cases_without_a_score_are_left_out_and_equal_experiments_do_not_differ():
    same = np.array([0.5, NAN, 0.7])
    found = paired_differences({"a": same, "b": same, "c": np.array([NAN, 0.5, NAN])})
    assert [(pair.first, pair.second, pair.cases) for pair in found] == [("a", "b", 2)]
    assert (found[0].mean, found[0].interval, found[0].p, found[0].p_holm) == (0, (0, 0), 1, 1)


def test_cases_of_a_patient_count_as_one():
    patients = [f"P{number // 5}" for number in range(25)]
    (found, *_) = paired_differences(SCORES, patients)
    means = {name: values.reshape(5, 5).mean(axis=1) for name, values in SCORES.items()}
    (expected, *_) = paired_differences(means)
    assert found.cases == 25
    assert (found.mean, found.p) == pytest.approx((expected.mean, expected.p))
    assert found.interval == pytest.approx(expected.interval)


def stepwise(values):
    """Holm's procedure in words: the smallest times m, the next times m - 1, ...; never below the one before."""
    corrected, highest = dict.fromkeys(range(len(values))), 0.0
    for step, place in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, (len(values) - step) * values[place]))
        corrected[place] = highest
    return list(corrected.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.005, 0.011, 0.02, 0.04, 0.13], [0.025, 0.044, 0.06, 0.08, 0.13]),
    ],
)
def test_holm(values, expected):
    assert holm(values) == pytest.approx(expected)
    assert stepwise(values) == pytest.approx(expected)
