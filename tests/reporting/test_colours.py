"""Colours of targets."""

from __future__ import annotations

from segflow.reporting.figures import class_colour


def test_seven_then_again():
    assert len({class_colour(i) for i in range(7)}) == 7
    assert class_colour(7) == class_colour(0)
