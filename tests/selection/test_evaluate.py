"""Scores of one case, means over cases and folds, and real summaries of nnU-Net reproduced."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores, Summary
from segflow.metrics.overlap import Counts, overlap_metrics
from segflow.selection.evaluate import merge_folds, score_case, summarise

LABELS = Labels((("background", 0), ("a", 1), ("b", 2)))
ABSENT = Counts(tp=0, fp=0, fn=0, tn=4)
HALF = Counts(tp=1, fp=1, fn=1, tn=1)
WHOLE = Counts(tp=2, fp=0, fn=0, tn=2)

FILES = {"prediction_file": "out/a.nii.gz", "reference_file": "labels/a.nii.gz"}
PLANS = Path(__file__).parents[3] / "shared" / "reference" / "plans"
SUMMARIES = sorted(PLANS.glob("*/*summary*.json"))


def case(name, *counts):
    metrics = {str(i): overlap_metrics(c) for i, c in enumerate(counts, start=1)}
    return CaseScores(metrics=metrics, prediction_file=f"p/{name}", reference_file=f"r/{name}")


REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))
THREE = Labels((("background", 0), ("a", 1), ("b", 2), ("c", 3)))


@pytest.mark.parametrize(
    ("labels", "prediction", "reference", "expected"),
    [
        (THREE, [1, 1, 0, 2], [1, 0, 0, 0], {"1": 2 / 3, "2": 0, "3": math.nan}),
        (REGIONS, [1, 2, 0, 0], [2, 2, 0, 1], {"(1, 2)": 0.8, "2": 2 / 3}),
    ],
)
def test_dice_of_a_case(labels, prediction, reference, expected, frozen):
    maps = [frozen(np.array([[row]], np.uint8)) for row in (prediction, reference)]
    scores = score_case(*maps, labels, prediction_file="p/a", reference_file="r/a")
    assert {key: metrics.dice for key, metrics in scores.metrics.items()} == pytest.approx(
        expected, nan_ok=True
    )
    assert (scores.prediction_file, scores.reference_file) == ("p/a", "r/a")


def test_keys_are_sorted_as_text():
    labels = Labels((("background", 0), *((f"c{i}", i) for i in range(1, 12))))
    scores = score_case(np.zeros((1, 1, 1), int), np.zeros((1, 1, 1), int), labels, **FILES)
    assert list(scores.metrics)[:3] == ["1", "10", "11"]


def test_shapes_must_agree():
    with pytest.raises(PredictionError, match=r"out/a.nii.gz has shape \(1, 1, 2\)"):
        score_case(np.zeros((1, 1, 2), int), np.zeros((1, 1, 1), int), LABELS, **FILES)


def test_means_leave_out_what_is_undefined():
    summary = summarise([case("b", WHOLE, ABSENT), case("a", HALF, HALF)], LABELS)
    assert summary.mean["1"].dice == 0.75
    assert summary.mean["2"].dice == 0.5
    assert summary.mean["2"].tp == 0.5
    assert summary.foreground_mean.dice == 0.625
    assert [c.reference_file for c in summary.metric_per_case] == ["r/a", "r/b"]
    absent = summarise([case("a", HALF, ABSENT)], LABELS)
    assert math.isnan(absent.mean["2"].dice)
    assert absent.foreground_mean.dice == 0.5
    assert math.isnan(summarise([case("a", ABSENT, ABSENT)], LABELS).foreground_mean.dice)


def test_json_round_trip():
    summary = summarise([case("a", HALF, ABSENT)], LABELS)
    text = summary.to_json()
    data = json.loads(text)
    assert text == json.dumps(data, indent=2, sort_keys=True) + "\n"
    assert isinstance(data["metric_per_case"][0]["metrics"]["1"]["TP"], int)
    again = Summary.parse(data, where="summary.json", error=PredictionError)
    assert again.to_json() == text


@pytest.mark.parametrize(("counts", "message"), [([], "no scored cases"), ([HALF], "p/a has no score for 2")])
def test_cases_that_cannot_be_summarised(counts, message):
    with pytest.raises(PredictionError, match=message):
        summarise([case("a", *counts)] if counts else [], LABELS)


def test_every_case_weighs_the_same_across_folds():
    folds = [
        summarise([case("a", WHOLE, WHOLE), case("b", WHOLE, WHOLE)], LABELS),
        summarise([case("c", HALF, HALF)], LABELS),
    ]
    merged = merge_folds(folds, LABELS)
    assert merged.mean["1"].dice == pytest.approx(2.5 / 3)
    assert len(merged.metric_per_case) == 3


def test_case_in_two_folds():
    fold = summarise([case("a", HALF, HALF)], LABELS)
    with pytest.raises(PredictionError, match="more than one fold: r/a"):
        merge_folds([fold, fold], LABELS)


REFERENCES = [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in SUMMARIES] or [
    pytest.param(None, marks=pytest.mark.skip(reason=f"no reference summaries at {PLANS}"))
]


def from_counts(metrics):
    """Everything anew, from the four counts."""
    return overlap_metrics(Counts(tp=metrics.tp, fp=metrics.fp, fn=metrics.fn, tn=metrics.tn))


@pytest.mark.data
@pytest.mark.parametrize("path", REFERENCES)
def test_summaries_of_nnunet_follow_from_their_counts(path):
    data = json.loads(path.read_text())
    theirs = Summary.parse(data, where=str(path), error=PredictionError)
    entries = (("background", 0), *((key, int(key)) for key in theirs.mean))
    cases = [
        case.model_copy(update={"metrics": {key: from_counts(m) for key, m in case.metrics.items()}})
        for case in theirs.metric_per_case
    ]
    ours = summarise(cases, Labels(entries)).model_dump(by_alias=True)
    assert len(cases) > 3
    same(ours["foreground_mean"], data["foreground_mean"])
    for key, metrics in data["mean"].items():
        same(ours["mean"][key], metrics)
    in_order = sorted(data["metric_per_case"], key=lambda case: case["reference_file"])
    for case, expected in zip(ours["metric_per_case"], in_order, strict=True):
        for key, metrics in expected["metrics"].items():
            same(case["metrics"][key], metrics)


def same(ours, theirs):
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)
