"""Geometry of small plots of Dice over cases: a point per case, a box from quartile to quartile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["HEIGHT", "WIDTH", "Scale", "Strip", "common_scale", "strip_of"]

#: Of a plot, in pixels.
WIDTH, HEIGHT = 300.0, 30.0
_MARGIN = 6.0
#: Points drawn; of more cases only the ends beyond the box are shown. Source: ours.
_MOST_POINTS = 200
_GOLDEN = (5**0.5 - 1) / 2  # spreads points up and down evenly, the same way each time
_JITTER = 0.55  # of the height
_TICK_STEPS = (0.02, 0.05, 0.1, 0.2)
_MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """Dice to pixels, the same for all plots of a table.

    Attributes:
        low: Dice at the left end; the right end is 1.
        ticks: Dice values to label.
    """

    low: float
    ticks: tuple[float, ...]

    def x(self, dice: float) -> float:
        """The place of a Dice value, in pixels from the left. Source: ours."""
        share = (dice - self.low) / (1 - self.low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)


@dataclass(frozen=True)
class Strip:
    """One plot.

    Attributes:
        points: (x, y, case) in pixels.
        quartiles: x of the first quartile, the median and the third quartile; empty without data.
        mean: x of the mean, or NaN.
    """

    points: tuple[tuple[float, float, str], ...]
    quartiles: tuple[float, ...]
    mean: float


def common_scale(dice: Sequence[float]) -> Scale:
    """A scale that shows all values and wastes little room.

    Args:
        dice: Of all cases and targets; NaN is passed over.

    Returns:
        From the next lower tick to 1.

    Source: ours.
    """
    defined = [value for value in dice if not math.isnan(value)]
    lowest = min(defined, default=0.0)
    step = next((s for s in _TICK_STEPS if (1 - lowest) / s <= _MOST_TICKS - 1), _TICK_STEPS[-1])
    n = max(1, math.ceil(round((1 - lowest) / step, 6)))
    ticks = tuple(round(1 - i * step, 2) for i in reversed(range(n + 1)))
    return Scale(low=ticks[0], ticks=ticks)


def strip_of(cases: Sequence[tuple[str, float]], scale: Scale) -> Strip:
    """Lay out the plot of one target.

    Args:
        cases: (case, Dice) pairs; NaN is passed over.
        scale: From `common_scale`.

    Returns:
        The plot.

    Source: ours.
    """
    defined = [(name, dice) for name, dice in cases if not math.isnan(dice)]
    if not defined:
        return Strip((), (), math.nan)
    values = np.array([dice for _, dice in defined])
    first, median, third = (float(q) for q in np.percentile(values, (25, 50, 75)))
    if len(defined) > _MOST_POINTS:
        beyond = sorted(defined, key=lambda pair: -abs(pair[1] - median))
        defined = beyond[:_MOST_POINTS]
    points = tuple((scale.x(d), _y(i), f"{name}: {d:.3f}") for i, (name, d) in enumerate(defined))
    return Strip(points, tuple(scale.x(q) for q in (first, median, third)), scale.x(float(values.mean())))


def _y(index: int) -> float:
    return round(HEIGHT * (0.5 + _JITTER * ((index * _GOLDEN) % 1 - 0.5)), 1)
