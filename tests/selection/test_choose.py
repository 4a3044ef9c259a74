"""Candidates, the choice among them, and the bootstrap against one replicate at a time."""

from __future__ import annotations

import math
from math import nan

import numpy as np
import pytest
from case_samples import labels_of
from report_samples import candidate, summary

from segflow.contracts.errors import PlanError
from segflow.metrics.bootstrap import draw_cases
from segflow.selection.choose import (
    bootstrap,
    candidate_members,
    candidate_name,
    replicate_scores,
    select,
    unscored_choice,
)


def test_order_and_names_of_candidates():
    members = candidate_members(["3d_cascade_fullres", "3d_lowres", "3d_fullres", "2d"])
    singles = ["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]
    pairs = [f"{one}+{other}" for i, one in enumerate(singles) for other in singles[i + 1 :]]
    assert [candidate_name(m) for m in members] == singles + pairs
    assert candidate_members([]) == ()
    assert candidate_members(["mine", "3d_fullres"]) == (("3d_fullres",), ("mine",), ("3d_fullres", "mine"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["2d", "3d_lowres", "3d_fullres"], "3d_fullres"),
        (["3d_lowres", "2d"], "2d"),
        (["mine", "3d_lowres"], "3d_lowres"),
        (["mine"], "mine"),
    ],
)
def test_the_choice_without_scores(names, chosen):
    assert unscored_choice(names) == chosen


@pytest.mark.parametrize("scores", [(0.5, 0.7, 0.6, 0.7), (nan, 0.7, 0.5), (0.5, 0.7, nan)])
def test_the_highest_wins_and_the_first_of_equals_and_nan_never(scores):
    selection = select([candidate(name, score) for name, score in zip("abcd", scores, strict=False)])
    assert selection.best.foreground_mean_dice == 0.7
    assert selection.best == next(c for c in selection.candidates if c.foreground_mean_dice == 0.7)
    assert [c.name for c in selection.candidates] == list("abcd"[: len(scores)])


@pytest.mark.parametrize("names", ["", "ab"])
def test_no_candidate_with_a_score_is_an_error(names):
    with pytest.raises(PlanError, match="no candidate has a score"):
        select([candidate(name, nan) for name in names])


@pytest.mark.parametrize(
    ("within", "best"), [(0, "a+b"), (0.004, "a+b"), (0.01, "b"), (0.011, "b"), (0.5, "b")]
)
def test_a_single_configuration_that_is_nearly_as_good_is_preferred(within, best):
    scores = {"a": 0.70, "b": 0.75, "c": nan, "d": 0.75, "a+b": 0.76, "b+c": 0.755}
    selection = select([candidate(*item) for item in scores.items()], prefer_single_within=within)
    assert selection.best.name == best
    assert selection.prefer_single_within == within


def scored(rows):
    """A summary with one row of Dice values per case."""
    return summary(*rows, labels=labels_of(len(rows[0])))


def random_dice(seed=0, cases=30, candidates=3):
    generator = np.random.default_rng(seed)
    dice = generator.uniform(0.5, 0.9, (cases, 1)) + generator.normal(0, 0.02, (candidates, cases, 2))
    dice += np.array([[[0.0]], [[0.002]], [[0.03]]])
    dice[generator.random(dice.shape) < 0.1] = nan
    return dice


def test_replicates_are_scored_as_summaries_of_the_drawn_cases():
    dice = random_dice()
    found = replicate_scores(dice, draw_cases(30, replicates=50, seed=3))
    times = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), size=50)
    for replicate, counts in enumerate(times):
        drawn = np.repeat(np.arange(30), counts)
        again = [scored(rows[drawn]).foreground_mean.dice for rows in dice]
        assert found[:, replicate] == pytest.approx(again, abs=1e-11)


def test_patients_are_drawn_with_all_their_cases():
    """Ten cases of each patient that are alike: the interval is that of the patients, as if each had one case."""
    patients = np.repeat(list("abcdef"), 10)
    times = draw_cases(60, patients, replicates=50)
    assert (times == times[:, ::10].repeat(10, axis=1)).all()
    assert (times[:, ::10].sum(axis=1) == 6).all()
    rows = np.random.default_rng(0).uniform(0.1, 0.9, (6, 1))
    many = scored(rows.repeat(10, axis=0))
    cases = [
        case.model_copy(update={"patient": f"P{int(case.file_name[5:-7]) // 10}"})
        for case in many.metric_per_case
    ]
    found = bootstrap({"a": many.model_copy(update={"metric_per_case": tuple(cases)})})
    once = bootstrap({"a": scored(rows)})
    assert (found.cases, found.patients, once.patients) == (60, 6, None)
    assert found.candidates[0].interval == pytest.approx(once.candidates[0].interval)
    assert "patients" not in once.model_dump()


def test_a_clear_winner_and_two_that_are_alike():
    dice = random_dice()
    summaries = {name: scored(rows) for name, rows in zip("abc", dice, strict=True)}
    result = bootstrap(summaries)
    assert (result.replicates, result.cases) == (1000, 30)
    a, b, c = result.candidates
    assert c.probability_best > 0.99
    assert a.probability_best + b.probability_best + c.probability_best == pytest.approx(1)
    assert 0.05 < a.rank_shares[1] < 0.95
    for found in result.candidates:
        assert sum(found.rank_shares) == pytest.approx(1)
        assert found.probability_best == found.rank_shares[0]
        low, high = found.interval
        assert low < summaries[found.name].foreground_mean.dice < high
    assert bootstrap(summaries) == result


def test_candidates_are_compared_on_the_same_draw():
    """Cases differ by far more than the candidates: only the same draw for both shows which is better."""
    hard = np.random.default_rng(0).uniform(0.1, 0.9, (40, 1))
    result = bootstrap({"a": scored(hard), "b": scored(hard + 0.001)})
    assert [c.probability_best for c in result.candidates] == [0, 1]
    assert result.candidates[0].interval[1] > result.candidates[1].interval[0]


def test_on_a_tie_the_simpler_candidate_ranks_first():
    result = bootstrap(dict.fromkeys("abc", scored(random_dice()[0])))
    assert [c.rank_shares for c in result.candidates] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_a_class_that_is_absent_from_a_draw_is_left_out_of_its_mean():
    found = replicate_scores(np.array([[[0.5, nan], [0.7, 0.9]]]), draw_cases(2, replicates=400))
    assert set(found[0]) == {0.5, 0.75, 0.8}


def test_a_candidate_without_a_score_has_no_rank():
    a, b = bootstrap({"a": scored([[nan], [nan]]), "b": scored([[0.5], [0.6]])}).candidates
    assert (a.rank_shares, a.probability_best) == ((0, 0), 0)
    assert all(math.isnan(end) for end in a.interval)
    assert b.rank_shares == (1, 0)
    (found,) = bootstrap({"a": scored([[nan], [0.5]])}).candidates
    assert 0.6 < found.probability_best < 0.9  # 3/4 of the draws have the case
    assert found.interval == (0.5, 0.5)


def test_candidates_scored_on_other_cases_cannot_be_compared():
    with pytest.raises(PlanError, match=r"candidate b was scored on other cases .*case_2"):
        bootstrap({"a": scored([[0.5]] * 2), "b": scored([[0.5]] * 3)})
