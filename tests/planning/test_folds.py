"""The five-fold split: as scikit-learn makes it, and as it was published."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from segflow.contracts.errors import ConfigurationError
from segflow.contracts.plan import Fold, fold_of
from segflow.planning.folds import make_folds


@pytest.mark.parametrize("n", [5, 7, 20, 131])
def test_like_scikit_learn(n):
    names = np.array([f"case_{number:03d}" for number in range(n)])
    splits = KFold(5, shuffle=True, random_state=12345).split(names)
    for fold, (train, val) in zip(make_folds(names.tolist()), splits, strict=True):
        assert fold.train == tuple(names[train])
        assert fold.val == tuple(names[val])


@given(st.sets(st.text("abcXYZ_019", min_size=1), min_size=5, max_size=40))
def test_every_case_is_held_out_once(names):
    folds = make_folds(sorted(names))
    assert sorted(name for fold in folds for name in fold.val) == sorted(names)
    for fold in folds:
        assert sorted((*fold.train, *fold.val)) == sorted(names)
    assert max(len(f.val) for f in folds) - min(len(f.val) for f in folds) <= 1


def test_order_of_the_input_does_not_matter():
    names = [f"c{number}" for number in range(12)]
    assert make_folds(names) == make_folds(names[::-1])


@pytest.mark.parametrize("names", ["a", "dcba"])
def test_of_too_few_cases_none_is_held_out(names):
    assert make_folds(list(names)) == (Fold(train=tuple(sorted(names)), val=()),)


def test_the_fold_of_all_cases_holds_none_out():
    names = [f"c{number}" for number in range(7)]
    assert fold_of(make_folds(names), "all") == Fold(train=tuple(names), val=())
    assert fold_of(make_folds(names), 1) == make_folds(names)[1]
    with pytest.raises(ConfigurationError, match="there is no fold 5; the folds are 0 to 4"):
        fold_of(make_folds(names), 5)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["002_Heart", "003_Liver", "004_Hippocampus", "005_Prostate", "007_Pancreas"]
)
def test_published_folds(name, shared):
    folder = shared / "reference" / "plans" / f"automl__AutoNNUnet__MSD_Dataset{name}"
    held_out = [published_cases(folder / f"fold_{number}_summary.json") for number in range(5)]
    folds = make_folds([case for part in held_out for case in part])
    assert [list(fold.val) for fold in folds] == held_out


def published_cases(file):
    cases = json.loads(file.read_text())["metric_per_case"]
    return sorted(re.search(r"([^/]+)\.nii\.gz$", case["prediction_file"])[1] for case in cases)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 30), min_size=5, max_size=60))
def test_patients_stay_together(owners):
    """In any of 200 groupings: no patient in two folds, no empty fold, and folds of nearly equal size."""
    patients = {f"case_{number:02d}": f"patient_{owner}" for number, owner in enumerate(owners)}
    folds = make_folds(list(patients), patients)
    if len(set(owners)) < 5:
        assert folds == (Fold(train=tuple(sorted(patients)), val=()),)
        return
    held_out = [{patients[name] for name in fold.val} for fold in folds]
    assert sum(map(len, held_out)) == len(set(owners)) == len(set.union(*held_out))
    assert all(held_out)
    for fold in folds:
        assert sorted((*fold.train, *fold.val)) == sorted(patients)


def test_patients_of_one_case_each_are_split_as_cases_are():
    names = [f"c{number:02d}" for number in range(23)]
    assert make_folds(names, {name: f"of_{name}" for name in names}) == make_folds(names)


def test_patients_of_several_cases_give_folds_of_nearly_equal_size():
    patients = {f"c{number:03d}": f"p{number // 4:02d}" for number in range(100)}
    assert [len(fold.val) for fold in make_folds(list(patients), patients)] == [20] * 5
