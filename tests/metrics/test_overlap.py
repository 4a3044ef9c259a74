"""Counts by hand and against masks; Dice, IoU and means, with their empty cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from case_samples import CLASSES, IGNORE, REGIONS

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import members
from segflow.metrics import overlap as module
from segflow.metrics.overlap import (
    Counts,
    confusion_matrix,
    dice,
    iou,
    mean_metrics,
    nan_mean,
    overlap_metrics,
    target_counts,
    target_key,
)


@pytest.mark.parametrize(
    ("reference", "prediction", "labels", "expected"),
    [
        ([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0], CLASSES, [[1, 1, 0], [0, 1, 1], [1, 0, 1]]),
        ([3, 3, 1, 0], [1, 0, 1, 1], IGNORE, [[0, 1, 0], [0, 1, 0], [0, 0, 0]]),
        *[([1, 0], [stray] * 2, CLASSES, [[1, 0, 0], [1, 0, 0], [0, 0, 0]]) for stray in (-1, 3, 200)],
    ],
    ids=["by hand", "ignored voxels are left out", *["unknown values are background"] * 3],
)
def test_confusion_matrix(reference, prediction, labels, expected, frozen):
    maps = [frozen(np.array(values, np.int16)) for values in (reference, prediction)]
    np.testing.assert_array_equal(confusion_matrix(*maps, labels), expected)


def test_counts_by_hand():
    confusion = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    assert target_counts(confusion, 1) == target_counts(confusion, 2) == Counts(tp=1, fp=1, fn=1, tn=3)
    assert target_counts(confusion, (1, 2)) == Counts(tp=3, fp=1, fn=1, tn=1)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS, IGNORE])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_counts_equal_those_of_masks(labels, dtype, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_VOXELS", 7)
    generator = np.random.default_rng(1)
    reference = generator.integers(0, 4 if labels.ignore else 3, (3, 4, 5)).astype(dtype)
    prediction = generator.integers(0, 3, (5, 4, 3)).astype(dtype).T
    counted = reference != 3
    confusion = confusion_matrix(reference, prediction, labels)
    for target in labels.targets:
        r, p = (np.isin(array[counted], members(target)) for array in (reference, prediction))
        masks = {"tp": r & p, "fp": ~r & p, "fn": r & ~p, "tn": ~r & ~p}
        assert target_counts(confusion, target) == Counts(**{k: int(m.sum()) for k, m in masks.items()})


def test_shapes_must_agree():
    with pytest.raises(PredictionError, match=r"\(2,\) and \(3,\)"):
        confusion_matrix(np.zeros(3, int), np.zeros(2, int), CLASSES)


def test_keys():
    assert [target_key(t) for t in (1, (1, 2), (3,))] == ["1", "(1, 2)", "(3,)"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(tp=3, fp=1, fn=2, tn=4), (6 / 9, 3 / 6)),
        (Counts(tp=0, fp=1, fn=0, tn=5), (0, 0)),
        (Counts(tp=0, fp=0, fn=1, tn=5), (0, 0)),
        (Counts(tp=0, fp=0, fn=0, tn=9), (math.nan, math.nan)),  # in neither map
    ],
)
def test_dice_and_iou(counts, expected):
    assert (dice(counts), iou(counts)) == pytest.approx(expected, nan_ok=True)


def test_metrics_of_a_case_are_whole_numbers_in_json():
    metrics = overlap_metrics(Counts(tp=3, fp=1, fn=2, tn=4))
    assert list(metrics.model_dump(by_alias=True)) == [
        "Dice",
        "FN",
        "FP",
        "IoU",
        "TN",
        "TP",
        "n_pred",
        "n_ref",
    ]
    assert '"TP": 3,' in metrics.to_json()
    assert (metrics.n_pred, metrics.n_ref) == (4, 5)


def test_means_leave_out_what_is_undefined():
    assert nan_mean([1, math.nan, 2]) == 1.5
    assert math.isnan(nan_mean([math.nan]))
    assert math.isnan(nan_mean([]))
    absent = overlap_metrics(Counts(tp=0, fp=0, fn=0, tn=10))
    present = overlap_metrics(Counts(tp=3, fp=1, fn=2, tn=4))
    mean = mean_metrics([absent, present])
    assert (mean.dice, mean.tp, mean.tn) == (present.dice, 1.5, 7)
