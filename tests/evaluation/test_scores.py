"""Scores of one case, means over cases and folds, and real summaries of nnU-Net reproduced."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from case_samples import CLASSES, REGIONS, labels_of

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores, Summary
from segflow.evaluation.scores import merge_folds, score_case, summarise
from segflow.metrics.overlap import Counts, overlap_metrics

ABSENT = Counts(tp=0, fp=0, fn=0, tn=4)
HALF = Counts(tp=1, fp=1, fn=1, tn=1)
WHOLE = Counts(tp=2, fp=0, fn=0, tn=2)
FILES = {"prediction_file": "out/a.nii.gz", "reference_file": "labels/a.nii.gz"}


def case(name, *counts):
    metrics = {str(i): overlap_metrics(c) for i, c in enumerate(counts, start=1)}
    return CaseScores(metrics=metrics, prediction_file=f"p/{name}", reference_file=f"r/{name}")


@pytest.mark.parametrize(
    ("labels", "prediction", "reference", "expected"),
    [
        (labels_of(3), [1, 1, 0, 2], [1, 0, 0, 0], {"1": 2 / 3, "2": 0, "3": math.nan}),
        (REGIONS, [1, 2, 0, 0], [2, 2, 0, 1], {"(1, 2)": 0.8, "2": 2 / 3}),
    ],
)
def test_dice_of_a_case(labels, prediction, reference, expected, frozen):
    maps = [frozen(np.array([[row]], np.uint8)) for row in (prediction, reference)]
    scores = score_case(*maps, labels, **FILES)
    found = {key: metrics.dice for key, metrics in scores.metrics.items()}
    assert found == pytest.approx(expected, nan_ok=True)
    assert (scores.prediction_file, scores.reference_file) == ("out/a.nii.gz", "labels/a.nii.gz")


def test_keys_are_sorted_as_text():
    scores = score_case(*[np.zeros((1, 1, 1), int)] * 2, labels_of(11), **FILES)
    assert list(scores.metrics)[:3] == ["1", "10", "11"]


def test_means_leave_out_what_is_undefined():
    summary = summarise([case("b", WHOLE, ABSENT), case("a", HALF, HALF)], CLASSES)
    assert (summary.mean["1"].dice, summary.mean["2"].dice, summary.mean["2"].tp) == (0.75, 0.5, 0.5)
    assert summary.foreground_mean.dice == 0.625
    assert [c.reference_file for c in summary.metric_per_case] == ["r/a", "r/b"]
    absent = summarise([case("a", HALF, ABSENT)], CLASSES)
    assert math.isnan(absent.mean["2"].dice)
    assert absent.foreground_mean.dice == 0.5
    assert math.isnan(summarise([case("a", ABSENT, ABSENT)], CLASSES).foreground_mean.dice)


def test_json_round_trip():
    text = summarise([case("a", HALF, ABSENT)], CLASSES).to_json()
    data = json.loads(text)
    assert text == json.dumps(data, indent=2, sort_keys=True) + "\n"
    assert isinstance(data["metric_per_case"][0]["metrics"]["1"]["TP"], int)
    assert Summary.parse(data, where="summary.json", error=PredictionError).to_json() == text


def test_without_cases_nothing_is_defined():
    merged = merge_folds([summarise([], CLASSES)], CLASSES)
    assert list(merged.mean) == ["1", "2"]
    for metrics in (merged.foreground_mean, *merged.mean.values()):
        assert np.isnan([metrics.dice, metrics.iou, metrics.tp, metrics.n_ref]).all()
        assert metrics.hd95 is None
    assert Summary.parse(json.loads(merged.to_json()), where="s", error=PredictionError).metric_per_case == ()


def test_every_case_weighs_the_same_across_folds():
    folds = [[case("a", WHOLE, WHOLE), case("b", WHOLE, WHOLE)], [case("c", HALF, HALF)]]
    merged = merge_folds([summarise(cases, CLASSES) for cases in folds], CLASSES)
    assert merged.mean["1"].dice == pytest.approx(2.5 / 3)
    assert len(merged.metric_per_case) == 3


def test_scores_that_cannot_be_computed_or_combined():
    with pytest.raises(PredictionError, match=r"out/a.nii.gz has shape \(1, 1, 2\)"):
        score_case(np.zeros((1, 1, 2), int), np.zeros((1, 1, 1), int), CLASSES, **FILES)
    with pytest.raises(PredictionError, match="p/a has no score for 2"):
        summarise([case("a", HALF)], CLASSES)
    with pytest.raises(PredictionError, match="more than one fold: a;"):
        merge_folds([summarise([case("a", HALF, HALF)], CLASSES)] * 2, CLASSES)


PLANS = Path(__file__).parents[3] / "shared" / "reference" / "plans"
SUMMARIES = [pytest.param(p, id=f"{p.parent.name}/{p.stem}") for p in sorted(PLANS.glob("*/*summary*.json"))]


def anew(metrics):
    """All metrics from the four counts."""
    return overlap_metrics(Counts(tp=metrics.tp, fp=metrics.fp, fn=metrics.fn, tn=metrics.tn))


@pytest.mark.data
@pytest.mark.parametrize("path", SUMMARIES)
def test_summaries_of_nnunet_follow_from_their_counts(path):
    data = json.loads(path.read_text())
    theirs = Summary.parse(data, where=str(path), error=PredictionError)
    labels = Labels((("background", 0), *((key, int(key)) for key in theirs.mean)))
    cases = [
        case.model_copy(update={"metrics": {key: anew(m) for key, m in case.metrics.items()}})
        for case in theirs.metric_per_case
    ]
    assert len(cases) > 3
    ours = summarise(cases, labels).model_dump(by_alias=True)
    same(ours["foreground_mean"], data["foreground_mean"])
    in_order = sorted(data["metric_per_case"], key=lambda case: case["reference_file"])
    pairs = [(ours["mean"], data["mean"])]
    pairs += [
        (case["metrics"], expected["metrics"])
        for case, expected in zip(ours["metric_per_case"], in_order, strict=True)
    ]
    for found, expected in pairs:
        for key in expected:
            same(found[key], expected[key])


def same(ours, theirs):
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)
