"""Candidates, the winner among them, and the bootstrap against one replicate at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segflow.contracts.errors import PlanError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Candidate, CaseScores, Metrics
from segflow.selection.choose import bootstrap, candidate_members, candidate_name, replicate_scores, select
from segflow.selection.evaluate import summarise

NAN = math.nan


def candidates(**scores):
    return [
        Candidate(name=name, configurations=tuple(name.split("+")), foreground_mean_dice=score, summary=name)
        for name, score in scores.items()
    ]


def test_order_and_names_of_candidates():
    members = candidate_members(["3d_cascade_fullres", "3d_lowres", "3d_fullres", "2d"])
    singles = ["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]
    pairs = [f"{one}+{other}" for i, one in enumerate(singles) for other in singles[i + 1 :]]
    assert [candidate_name(m) for m in members] == singles + pairs


def test_few_or_other_configurations():
    assert candidate_members(["2d"]) == (("2d",),)
    assert candidate_members([]) == ()
    assert candidate_members(["mine", "3d_fullres"]) == (("3d_fullres",), ("mine",), ("3d_fullres", "mine"))


def test_the_highest_wins_and_the_first_of_equals():
    selection = select(candidates(a=0.5, b=0.7, c=0.6, d=0.7))
    assert selection.best.name == "b"
    assert [c.name for c in selection.candidates] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_never_wins(place):
    scores = [0.5, 0.4]
    scores.insert(place, math.nan)
    assert select(candidates(**dict(zip("abc", scores, strict=True)))).best.foreground_mean_dice == 0.5


@pytest.mark.parametrize("scores", [{}, {"a": math.nan, "b": math.nan}])
def test_nothing_to_choose_by(scores):
    with pytest.raises(PlanError, match="no candidate has a score"):
        select(candidates(**scores))


@pytest.mark.parametrize(
    ("within", "best"), [(0, "a+b"), (0.004, "a+b"), (0.01, "b"), (0.011, "b"), (0.5, "b")]
)
def test_a_single_one_that_is_nearly_as_good(within, best):
    scores = {"a": 0.70, "b": 0.75, "c": math.nan, "d": 0.75, "a+b": 0.76, "b+c": 0.755}
    selection = select(candidates(**scores), prefer_single_within=within)
    assert selection.best.name == best
    assert selection.prefer_single_within == within


def summary(rows):
    """One row of Dice values per case."""
    labels = Labels((("background", 0), *((f"c{i}", i) for i in range(1, len(rows[0]) + 1))))

    def metrics(dice):
        return Metrics(dice=dice, iou=dice, fn=0, fp=0, tn=0, tp=0, n_pred=0, n_ref=0)

    cases = [
        CaseScores(
            metrics={str(k): metrics(dice) for k, dice in enumerate(row, start=1)},
            prediction_file=f"p/{i:03}",
            reference_file=f"r/{i:03}",
        )
        for i, row in enumerate(rows)
    ]
    return summarise(cases, labels)


def random_dice(seed=0, cases=30, candidates=3):
    generator = np.random.default_rng(seed)
    dice = generator.uniform(0.5, 0.9, (cases, 1)) + generator.normal(0, 0.02, (candidates, cases, 2))
    dice += np.array([[[0.0]], [[0.002]], [[0.03]]])
    dice[generator.random(dice.shape) < 0.1] = NAN
    return dice


def test_one_replicate_at_a_time():
    dice = random_dice()
    found = replicate_scores(dice, replicates=50, seed=3)
    times = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), size=50)
    for replicate, counts in enumerate(times):
        drawn = np.repeat(np.arange(30), counts)
        assert len(drawn) == 30
        for candidate in range(3):
            again = summary(dice[candidate][drawn].tolist())
            assert found[candidate, replicate] == pytest.approx(again.foreground_mean.dice, abs=1e-11)


def test_a_clear_winner_and_two_that_are_alike():
    dice = random_dice()
    result = bootstrap({name: summary(dice[i].tolist()) for i, name in enumerate("abc")})
    assert (result.replicates, result.cases) == (1000, 30)
    a, b, c = result.candidates
    assert c.probability_best > 0.99
    assert a.probability_best + b.probability_best + c.probability_best == pytest.approx(1)
    assert 0.05 < a.rank_shares[1] < 0.95  # second or third, who knows
    for found, rows in zip(result.candidates, dice, strict=True):
        assert sum(found.rank_shares) == pytest.approx(1)
        assert found.probability_best == found.rank_shares[0]
        low, high = found.interval
        assert low < summary(rows.tolist()).foreground_mean.dice < high


def test_the_draw_is_paired():
    """Cases differ by far more than the candidates: only the same draw for both shows which is better."""
    generator = np.random.default_rng(0)
    hard = generator.uniform(0.1, 0.9, (40, 1))
    result = bootstrap({"a": summary(hard.tolist()), "b": summary((hard + 0.001).tolist())})
    assert [c.probability_best for c in result.candidates] == [0, 1]
    assert result.candidates[0].interval[1] > result.candidates[1].interval[0]


def test_same_seed_same_result():
    dice = {name: summary(random_dice()[i].tolist()) for i, name in enumerate("abc")}
    assert bootstrap(dice) == bootstrap(dice)
    assert bootstrap(dice, seed=1) != bootstrap(dice)


def test_ties_go_to_the_simpler():
    rows = random_dice()[0].tolist()
    result = bootstrap({"a": summary(rows), "b": summary(rows), "c": summary(rows)})
    assert [c.rank_shares for c in result.candidates] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_a_class_that_is_absent_from_a_draw():
    """In three of eight draws of two, the case with the class is not drawn; then the other class decides alone."""
    found = replicate_scores(np.array([[[0.5, NAN], [0.7, 0.9]]]), replicates=400, seed=0)
    assert set(found[0]) == {0.5, 0.7, 0.75, 0.8} - {0.7}
    assert not np.isnan(found).any()


def test_a_candidate_without_a_score_has_no_rank():
    result = bootstrap({"a": summary([[NAN], [NAN]]), "b": summary([[0.5], [0.6]])})
    a, b = result.candidates
    assert (a.rank_shares, a.probability_best) == ((0, 0), 0)
    assert all(math.isnan(end) for end in a.interval)
    assert b.rank_shares == (1, 0)
    (found,) = bootstrap({"a": summary([[NAN], [0.5]])}).candidates
    assert 0.6 < found.probability_best < 0.9  # 3/4 of the draws have the case
    assert found.interval == (0.5, 0.5)


def test_other_cases_cannot_be_compared():
    with pytest.raises(PlanError, match=r"candidate b was scored on other cases .*r/002"):
        bootstrap({"a": summary([[0.5]] * 2), "b": summary([[0.5]] * 3)})
