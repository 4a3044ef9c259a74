"""Numbers as text, representative cases, warnings."""

from __future__ import annotations

import pytest
from case_samples import CARD
from report_samples import LABELS, NAN, summary

from segflow.reporting.text import (
    ABSENT,
    cautions,
    dice_text,
    duration_text,
    mean_dice,
    number_text,
    percent_text,
    representative_cases,
    shape_text,
    worst_targets,
)


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (duration_text, 0, "0.0 s"),
        (duration_text, 59.94, "59.9 s"),
        (duration_text, 59.99, "1 min 00 s"),
        (duration_text, 200, "3 min 20 s"),
        (duration_text, 3599.6, "1 h 00 min"),
        (duration_text, 3900, "1 h 05 min"),
        (duration_text, 360000, "100 h 00 min"),
        (dice_text, 0.87349, "0.873"),
        (dice_text, NAN, ABSENT),
        (number_text, 0.78125, "0.7812"),
        (number_text, 12345.6, "12346"),
        (number_text, NAN, ABSENT),
        (shape_text, (40, 56.5), "40 \N{MULTIPLICATION SIGN} 56.5"),
        (percent_text, 0, "0 %"),
        (percent_text, 0.005, "< 1 %"),
        (percent_text, 0.084, "8 %"),
        (percent_text, 1, "100 %"),
        (percent_text, NAN, ABSENT),
    ],
)
def test_numbers(function, value, text):
    assert function(value) == text


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, []),
        (1, [("best", 0.9), ("median", 0.5), ("worst", 0.1)]),
        (2, [("best", 0.9), ("rank 2 of 5", 0.7), ("median", 0.5), ("rank 4 of 5", 0.3), ("worst", 0.1)]),
    ],
)
def test_representative_cases(n, expected):
    scores = summary((0.5, 0.5), (0.1, 0.1), (0.9, NAN), (0.3, 0.3), (NAN, NAN), (0.7, 0.7))
    chosen = representative_cases(scores, n)
    assert [(rank, case.metrics["1"].dice) for rank, case in chosen] == expected
    assert representative_cases(summary((NAN, NAN)), n) == ()


def test_the_best_those_around_the_median_and_the_worst():
    chosen = representative_cases(summary(*((i / 100, i / 100) for i in range(100))), 5)
    ranks = [100 - round(100 * mean_dice(case)) for _, case in chosen]
    assert ranks == [*range(1, 6), *range(49, 54), *range(96, 101)]
    assert [rank for rank, _ in chosen if not rank.startswith("rank")] == ["best", "median", "worst"]


def test_targets_of_pictures():
    few = summary((0.9, 0.2), (0.9, NAN), (NAN, NAN)).metric_per_case
    assert [worst_targets(case, LABELS) for case in few] == [[1, 0], [0], [0, 1]]
    assert worst_targets(few[0], LABELS, 1) == [1]


MANY = [(0.9, 0.8)] * 12


def trained(*, batch_size=2, epochs=1000, iterations=250, device="cuda:0"):
    configuration = CARD.configuration.model_copy(update={"batch_size": batch_size})
    update = {"configuration": configuration, "epochs": epochs, "iterations": iterations, "device": device}
    return CARD.model_copy(update=update)


@pytest.mark.parametrize(
    ("change", "rows", "words"),
    [
        ({}, MANY, []),
        ({"folds": [0, 2]}, MANY, ["missing: 1, 3, 4"]),
        ({"folds": range(5), "n_folds": 10}, MANY, ["Only 5 of 10 folds were run (missing: 5, 6, 7, 8, 9)"]),
        ({"folds": range(2), "n_folds": 2}, MANY, []),
        (
            {"networks": [trained(), trained(epochs=50)]},
            MANY,
            ["50 epochs of 250 steps, nnU-Net's for 1000 of 250"],
        ),
        ({"networks": [trained(iterations=1)]}, MANY, ["1000 epochs of 1 step, nnU-Net's"]),
        ({"networks": [trained(iterations=None)]}, MANY, []),
        ({"networks": [trained(), trained(device="cpu")]}, MANY, ["CPU"]),
        (
            {"networks": [trained(batch_size=7), trained(batch_size=7)]},
            MANY,
            ["3d_fullres: the batch size was 7, set by training.batch_size, in place of the plan's 2."],
        ),
        ({}, [(0.9, NAN)] * 12, ["'lesion <b>' occurs in no scored case"]),
        ({}, MANY[:3], ["Only 3 cases"]),
        ({"folds": ["all"]}, [], ["trained on all cases, so none could be scored"]),
    ],
)
def test_cautions(change, rows, words):
    planned = {"3d_fullres": CARD.configuration}
    full = {"networks": [trained()], "planned": planned, "folds": range(5), "n_folds": 5}
    found = cautions(summary(*rows), LABELS, **{**full, **change})
    assert [word in caution for word, caution in zip(words, found, strict=True)] == [True] * len(words)
