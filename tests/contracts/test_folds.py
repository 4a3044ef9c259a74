"""Folds of a file that do not fit the data set."""

from __future__ import annotations

import pytest

from segflow.contracts.errors import PlanError
from segflow.contracts.folds import check_folds, held_out_twice
from segflow.contracts.plan import Fold

GOOD = Fold(train=("a",), val=("b", "c"))


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold(train=("a", "x"), val=("b",)), "fold 1 names x, which is not a case"),
        (Fold(train=("a", "b"), val=("b",)), "fold 1 trains on b"),
        (Fold(train=("a", "b"), val=()), "fold 1 has no training or no held-out"),
        (Fold(train=(), val=("a",)), "fold 1 has no training or no held-out"),
        (Fold(train=("a",), val=("b", "c", "b")), "folds 1 hold b out 2 times; each case is scored once"),
    ],
)
def test_folds_that_do_not_fit(fold, message):
    check_folds([GOOD], "abc", where="splits_final.json")
    with pytest.raises(PlanError, match=rf"^splits_final\.json: {message}"):
        check_folds([GOOD, fold], "abc", where="splits_final.json")


def test_cases_of_one_patient_on_both_sides():
    check_folds([GOOD], "abc", where="x", patients={"a": "P1", "b": "P2", "c": "P2"})
    with pytest.raises(
        PlanError, match="x: fold 0 trains on a and holds out c, which are of one patient, P1; hold"
    ):
        check_folds([GOOD], "abc", where="x", patients={"a": "P1", "b": "P2", "c": "P1"})


def test_no_folds_at_all():
    with pytest.raises(PlanError, match=r"^splits_final\.json holds no folds"):
        check_folds([], "abc", where="splits_final.json")


def test_a_case_that_two_folds_hold_out():
    other = Fold(train=("b",), val=("a", "c"))
    assert held_out_twice({0: GOOD, 1: Fold(train=("b",), val=("a",))}) is None
    assert held_out_twice({0: GOOD, 3: other}) == "folds 0, 3 hold c out 2 times; each case is scored once"
