"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from segflow.reporting.text import ABSENT, dice_text, duration_text, number_text, percent_text, shape_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_duration(seconds, text):
    assert duration_text(seconds) == text


def test_numbers():
    assert (dice_text(0.87349), dice_text(math.nan)) == ("0.873", ABSENT)
    assert (number_text(0.78125), number_text(12345.6), number_text(math.nan)) == ("0.7812", "12346", ABSENT)
    assert shape_text((40, 56.5)) == "40 \N{MULTIPLICATION SIGN} 56.5"


def test_shares():
    found = [percent_text(share) for share in (0, 0.001, 0.005, 0.084, 1, math.nan)]
    assert found == ["0 %", "< 1 %", "< 1 %", "8 %", "100 %", ABSENT]
