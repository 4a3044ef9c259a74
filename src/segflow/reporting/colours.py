"""Colours that people with any colour vision can tell apart."""

from __future__ import annotations

__all__ = ["SERIES", "class_colour"]

#: Okabe and Ito's colour-blind safe set, most visible on grey images first. Source: Okabe & Ito 2008.
_CLASSES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")
#: Curves, one per fold: names of the page's CSS variables, which differ between light and dark.
SERIES = ("--series-1", "--series-2", "--series-3", "--series-4", "--series-5")


def class_colour(index: int) -> str:
    """The colour of a target.

    Args:
        index: Its place among the targets; colours repeat after seven.

    Returns:
        Such as "#E69F00".

    Source: Okabe & Ito 2008.
    """
    return _CLASSES[index % len(_CLASSES)]
