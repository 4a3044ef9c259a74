"""Scores of one case."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.selection.evaluate import score_case

FILES = {"prediction_file": "out/a.nii.gz", "reference_file": "labels/a.nii.gz"}


def frozen(values):
    array = np.asarray(values, dtype=np.uint8)
    array.setflags(write=False)
    return array


def test_classes():
    labels = Labels((("background", 0), ("a", 1), ("b", 2), ("c", 3)))
    scores = score_case(frozen([[[1, 1, 0, 2]]]), frozen([[[1, 0, 0, 0]]]), labels, **FILES)
    assert list(scores.metrics) == ["1", "2", "3"]
    assert scores.metrics["1"].dice == 2 / 3
    assert scores.metrics["2"].dice == 0
    assert math.isnan(scores.metrics["3"].dice)
    assert scores.prediction_file == "out/a.nii.gz"


def test_regions():
    labels = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))
    scores = score_case(frozen([[[1, 2, 0, 0]]]), frozen([[[2, 2, 0, 1]]]), labels, **FILES)
    assert list(scores.metrics) == ["(1, 2)", "2"]
    assert scores.metrics["(1, 2)"].dice == 0.8
    assert scores.metrics["2"].dice == 2 / 3


def test_keys_are_sorted_as_text():
    labels = Labels((("background", 0), *((f"c{i}", i) for i in range(1, 12))))
    scores = score_case(frozen([[[0]]]), frozen([[[0]]]), labels, **FILES)
    assert list(scores.metrics)[:3] == ["1", "10", "11"]


def test_shapes_must_agree():
    labels = Labels((("background", 0), ("a", 1)))
    with pytest.raises(PredictionError, match=r"out/a.nii.gz has shape \(1, 1, 2\)"):
        score_case(frozen([[[0, 0]]]), frozen([[[0]]]), labels, **FILES)
