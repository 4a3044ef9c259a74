"""Plots of Dice over cases."""

from __future__ import annotations

import math

import pytest

from segflow.reporting.figures import HEIGHT, WIDTH, common_scale, strip_of


@pytest.mark.parametrize(
    ("dice", "ticks"),
    [
        ([0.93, math.nan], (0.92, 0.94, 0.96, 0.98, 1)),
        ([0.6], (0.6, 0.7, 0.8, 0.9, 1)),
        ([0.0, 0.9], (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([1.0], (0.98, 1)),
        ([], (0, 0.2, 0.4, 0.6, 0.8, 1)),
    ],
)
def test_scale(dice, ticks):
    assert common_scale(dice).ticks == ticks


def test_points_lie_inside():
    strip = strip_of([("a", 0.5), ("b", math.nan), ("c", 1.0)], common_scale([0.5]))
    assert [text for _, _, text in strip.points] == ["a: 0.500", "c: 1.000"]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y, _ in strip.points)
    assert strip.quartiles == tuple(sorted(strip.quartiles))


def test_nothing_defined():
    strip = strip_of([("a", math.nan)], common_scale([]))
    assert strip.points == strip.quartiles == ()


def test_many_cases_keep_the_extremes():
    cases = [("low", 0.1), *((f"c{i}", 0.9) for i in range(500)), ("high", 1.0)]
    strip = strip_of(cases, common_scale([0.1]))
    assert len(strip.points) == 200
    assert {"low: 0.100", "high: 1.000"} <= {text for _, _, text in strip.points}
