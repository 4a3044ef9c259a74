"""Two plans.json side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["plan_differences"]

SUMMED = ("/mean", "/std")
ABSENT = "(absent)"


def plan_differences(ours: Any, theirs: Any, *, statistics: float = 0.0) -> list[str]:
    """Every place where the plans differ.

    Args:
        ours: The content of plans.json.
        theirs: nnU-Net's.
        statistics: By how much, relatively, a mean or standard deviation of the data set may differ.

    Returns:
        A line for each, beginning with the keys that lead to the place.
    """
    found, expected = dict(_leaves(ours)), dict(_leaves(theirs))
    return [
        f"{place}: {found.get(place, ABSENT)!r}, nnU-Net has {expected.get(place, ABSENT)!r}"
        for place in {**expected, **found}
        if not _equal(place, found.get(place, ABSENT), expected.get(place, ABSENT), statistics)
    ]


def _equal(place: str, ours: Any, theirs: Any, statistics: float) -> bool:
    if place.endswith(SUMMED) and ABSENT not in {ours, theirs}:
        return math.isclose(ours, theirs, rel_tol=statistics)
    return ours == theirs


def _leaves(data: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Places and values; a list is a value."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, f"{place}/{key}")
    else:
        yield place, data
