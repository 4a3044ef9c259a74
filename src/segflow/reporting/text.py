"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["ABSENT", "dice_text", "duration_text", "number_text", "percent_text", "shape_text"]

#: Stands for a number that is not defined.
ABSENT = "\N{EN DASH}"
_MINUTE, _HOUR = 60, 3600


def dice_text(value: float) -> str:
    """A score with three decimals.

    Args:
        value: 0 to 1, or NaN.

    Returns:
        Such as "0.873"; a dash for NaN.

    Source: ours.
    """
    return ABSENT if math.isnan(value) else f"{value:.3f}"


def percent_text(share: float) -> str:
    """A share in percent; a small one is not rounded away.

    Args:
        share: 0 to 1, or NaN.

    Returns:
        Such as "84 %" or "< 1 %"; a dash for NaN.

    Source: ours.
    """
    if math.isnan(share):
        return ABSENT
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def number_text(value: float) -> str:
    """A number with up to four significant digits, whole if it is large.

    Args:
        value: Any.

    Returns:
        Such as "0.7813", "35", "1204"; a dash for NaN.

    Source: ours.
    """
    if math.isnan(value):
        return ABSENT
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def shape_text(values: Iterable[float]) -> str:
    """Numbers along axes.

    Args:
        values: One per axis.

    Returns:
        Such as "40 x 56 x 40", with a multiplication sign.

    Source: ours.
    """
    return " \N{MULTIPLICATION SIGN} ".join(number_text(value) for value in values)


def duration_text(seconds: float) -> str:
    """A time span.

    Args:
        seconds: Zero or more.

    Returns:
        Such as "4.2 s", "3 min 20 s", "1 h 05 min".

    Source: ours.
    """
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // 60} h {minutes % 60:02d} min"
