"""Spread over cases and the cases that show it."""

from __future__ import annotations

import math

import pytest
from report_samples import LABELS, NAN, summary

from segflow.reporting.text import representative_cases, spreads


def test_spreads():
    organ, lesion = spreads(summary((0.9, 0.8), (0.7, NAN)), LABELS)
    assert (organ.name, organ.key, organ.n) == ("organ", "1", 2)
    assert organ.mean == pytest.approx(0.8)
    assert organ.std == pytest.approx(0.1 * 2**0.5)
    assert lesion.n == 1
    assert math.isnan(lesion.std)


def test_absent_target():
    lesion = spreads(summary((0.9, NAN)), LABELS)[1]
    assert lesion.n == 0
    assert math.isnan(lesion.mean)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, []),
        (1, [("best", 0.9)]),
        (2, [("best", 0.9), ("worst", 0.1)]),
        (3, [("best", 0.9), ("median", 0.5), ("worst", 0.1)]),
        (9, [("best", 0.9), ("rank 2 of 5", 0.7), ("median", 0.5), ("rank 4 of 5", 0.3), ("worst", 0.1)]),
    ],
)
def test_representative_cases(n, expected):
    scores = summary((0.5, 0.5), (0.1, 0.1), (0.9, NAN), (0.3, 0.3), (NAN, NAN), (0.7, 0.7))
    chosen = representative_cases(scores, n)
    assert [(rank, case.metrics["1"].dice) for rank, case in chosen] == expected
