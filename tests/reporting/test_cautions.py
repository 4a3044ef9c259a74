"""Each caution, alone."""

from __future__ import annotations

import pytest
from report_samples import LABELS, NAN, summary

from segflow.reporting.text import cautions

FULL = {"devices": ["cuda:0"], "folds": range(5), "epochs": 1000, "recipe_epochs": 1000}
MANY = [(0.9, 0.8)] * 12


def test_full_run_needs_none():
    assert cautions(summary(*MANY), LABELS, **FULL) == ()


@pytest.mark.parametrize(
    ("change", "rows", "words"),
    [
        ({"folds": [0, 2]}, MANY, "missing: 1, 3, 4"),
        ({"epochs": 50}, MANY, "50 of nnU-Net's 1000 epochs"),
        ({"devices": ["cuda", "cpu"]}, MANY, "CPU"),
        ({}, [(0.9, NAN)] * 12, "'lesion <b>' occurs in no scored case"),
        ({}, MANY[:3], "Only 3 cases"),
    ],
)
def test_one_caution(change, rows, words):
    (caution,) = cautions(summary(*rows), LABELS, **{**FULL, **change})
    assert words in caution
