"""Candidates and the winner among them."""

from __future__ import annotations

import math

import pytest

from segflow.contracts.errors import PlanError
from segflow.contracts.scores import Candidate
from segflow.selection.choose import candidate_members, candidate_name, select


def candidates(**scores):
    return [
        Candidate(name=name, configurations=tuple(name.split("+")), foreground_mean_dice=score, summary=name)
        for name, score in scores.items()
    ]


def test_names():
    assert candidate_name(("2d", "3d_fullres")) == "2d+3d_fullres"
    assert candidate_name(("2d",)) == "2d"


def test_order_of_candidates():
    members = candidate_members(["3d_cascade_fullres", "3d_lowres", "3d_fullres", "2d"])
    assert [candidate_name(m) for m in members] == [
        "2d",
        "3d_fullres",
        "3d_lowres",
        "3d_cascade_fullres",
        "2d+3d_fullres",
        "2d+3d_lowres",
        "2d+3d_cascade_fullres",
        "3d_fullres+3d_lowres",
        "3d_fullres+3d_cascade_fullres",
        "3d_lowres+3d_cascade_fullres",
    ]


def test_few_or_other_configurations():
    assert candidate_members(["2d"]) == (("2d",),)
    assert candidate_members([]) == ()
    assert candidate_members(["mine", "3d_fullres"]) == (("3d_fullres",), ("mine",), ("3d_fullres", "mine"))


def test_highest_wins():
    selection = select(candidates(a=0.5, b=0.7, c=0.6))
    assert selection.best.name == "b"
    assert [c.name for c in selection.candidates] == ["a", "b", "c"]


def test_first_wins_ties():
    assert select(candidates(a=0.5, b=0.7, c=0.7)).best.name == "b"


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
    scores = {"a": 0.70, "b": 0.75, "c": math.nan, "a+b": 0.76, "b+c": 0.755}
    selection = select(candidates(**scores), prefer_single_within=within)
    assert selection.best.name == best
    assert selection.prefer_single_within == within


def test_near_singles_go_by_score_then_order():
    scores = {"a": 0.74, "b": 0.75, "d": 0.75, "a+b": 0.76}
    assert select(candidates(**scores), prefer_single_within=0.1).best.name == "b"
