"""Dice, IoU and means, with their empty cases."""

from __future__ import annotations

import math

import pytest

from segflow.metrics.overlap import Counts, dice, iou, mean_metrics, nan_mean, overlap_metrics


def test_hand_made():
    counts = Counts(tp=3, fp=1, fn=2, tn=4)
    assert dice(counts) == 6 / 9
    assert iou(counts) == 3 / 6


def test_absent_everywhere_is_undefined():
    counts = Counts(tp=0, fp=0, fn=0, tn=9)
    assert math.isnan(dice(counts))
    assert math.isnan(iou(counts))


@pytest.mark.parametrize(("fp", "fn"), [(1, 0), (0, 1), (1, 1)])
def test_no_overlap_is_zero(fp, fn):
    assert dice(Counts(tp=0, fp=fp, fn=fn, tn=5)) == 0
    assert iou(Counts(tp=0, fp=fp, fn=fn, tn=5)) == 0


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


def test_nan_mean():
    assert nan_mean([1, math.nan, 2]) == 1.5
    assert math.isnan(nan_mean([math.nan]))
    assert math.isnan(nan_mean([]))


def test_mean_leaves_out_what_is_undefined():
    absent = overlap_metrics(Counts(tp=0, fp=0, fn=0, tn=10))
    present = overlap_metrics(Counts(tp=3, fp=1, fn=2, tn=4))
    mean = mean_metrics([absent, present])
    assert mean.dice == present.dice
    assert (mean.tp, mean.tn) == (1.5, 7)
