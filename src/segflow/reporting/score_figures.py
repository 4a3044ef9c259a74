"""Agreement of volumes and reliability of probabilities, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from segflow.contracts.assessment import AssessedClass, Assessment
from segflow.reporting.figures import FAINT, INK, class_colour, draw_svg, in_colours, plain, style_axes

__all__ = ["score_figures", "score_panels"]

_COLUMNS = 3
_PANEL_INCHES = (3.1, 2.7)
_Draw = Callable[[FigureBase], None]


def score_panels(assessment: Assessment | None) -> dict[str, list[str]]:
    """For the page: bland_altman and calibration, each a drawing per class; of what was measured."""
    return {
        name: [in_colours(draw_svg(_PANEL_INCHES, draw), inline=True) for draw in panels]
        for name, panels in _panels(assessment).items()
    }


def score_figures(assessment: Assessment | None) -> dict[str, str]:
    """For files: the same, the classes of each side by side."""
    return {
        name: in_colours(draw_svg(_size(len(panels)), partial(_draw_all, panels)), inline=False)
        for name, panels in _panels(assessment).items()
        if panels
    }


def _panels(assessment: Assessment | None) -> dict[str, list[_Draw]]:
    if assessment is None:
        return {}
    classes = list(enumerate(assessment.classes))
    agreeing: list[_Draw] = [
        partial(_draw_agreement, assessment, one, class_colour(n)) for n, one in classes if one.agreement
    ]
    calibrated: list[_Draw] = [
        partial(_draw_reliability, one, class_colour(n)) for n, one in classes if one.calibration
    ]
    return {"bland_altman": agreeing, "calibration": calibrated}


def _size(panels: int) -> tuple[float, float]:
    width, height = _PANEL_INCHES
    return width * min(panels, _COLUMNS), height * math.ceil(panels / _COLUMNS)


def _draw_all(panels: list[_Draw], figure: Figure) -> None:
    rows = math.ceil(len(panels) / _COLUMNS)
    parts = np.array(figure.subfigures(rows, min(len(panels), _COLUMNS), squeeze=False)).ravel()
    for draw, part in zip(panels, parts.tolist(), strict=False):
        draw(part)


def _axes(one: AssessedClass, figure: FigureBase, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set_title(plain(one.name), color=INK, loc="left", fontsize=9)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    style_axes(axes)
    return axes


def _draw_agreement(assessment: Assessment, one: AssessedClass, colour: str, figure: FigureBase) -> None:
    """Difference over mean of both volumes, one dot per case. Source: Bland & Altman 1986."""
    rows = [case.values[one.target] for case in assessment.cases]
    rows = [row for row in rows if not math.isnan(row["volume"])]
    axes = _axes(one, figure, "mean of both volumes, ml", "predicted \N{MINUS SIGN} reference, ml")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    means = [(row["predicted_ml"] + row["reference_ml"]) / 2 for row in rows]
    axes.plot(means, [row["volume"] for row in rows], "o", ms=4, color=colour, mew=0, alpha=0.8)
    axes.axhline(0, color=FAINT, lw=0.8)
    if one.agreement is not None:
        axes.axhline(one.agreement.bias, color=INK, lw=1.2)
        for limit in one.agreement.limits:
            axes.axhline(limit, color=INK, lw=0.8, ls=(0, (4, 2)))


def _draw_reliability(one: AssessedClass, colour: str, figure: FigureBase) -> None:
    """Share of a bin's voxels in the class over their mean probability, and the diagonal where both are equal."""
    axes = _axes(one, figure, "predicted probability", "share of voxels in the class")
    axes.plot((0, 1), (0, 1), color=INK, lw=0.6, ls=(0, (1, 2)))
    bins = one.calibration.bins if one.calibration else ()
    axes.plot([b.probability for b in bins], [b.share for b in bins], marker="o", ms=4, lw=1.4, color=colour)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
