"""Figures for papers as SVG files: text stays text, so that it can be searched and edited."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segflow.metrics.overlap import target_key
from segflow.reporting.data import ReportData
from segflow.reporting.figures import GOLDEN, class_colour, draw_curves, draw_histogram, draw_svg, plain
from segflow.reporting.score_figures import score_figures
from segflow.reporting.scores import metric_tables

__all__ = ["charts", "draw_comparison"]

_WIDTH = 7.0  # of a page, in inches
_ROW = 0.32
_WIDE_NAMES = 60  # characters that names beside each other may have in all


def charts(data: ReportData) -> dict[str, str]:
    """Figures by name: Dice per class, candidates with their intervals, training curves, histograms of cases."""
    found = {
        f"training_{name}_{what}": svg
        for name, curves in draw_curves(data.histories, inline=False).items()
        for what, svg in zip(("loss", "dice"), curves, strict=True)
    }
    for number, measure in enumerate(filter(lambda each: each.values, data.gallery.measures), 1):
        if measure.varies:
            found[f"histogram_{number}"] = draw_histogram(measure, inline=False)
    targets = zip(data.labels.target_names, map(target_key, data.labels.targets), strict=True)
    dice = {name: [case.metrics[key].dice for case in data.summary.metric_per_case] for name, key in targets}
    if data.summary.metric_per_case:
        found["dice"] = _draw_strips(dice, "Dice")
    found |= score_figures(data.assessment)
    for table in metric_tables(data.assessment) if data.assessment else ():
        unit = f", {table.unit}" if table.unit else ""
        found[table.name] = _draw_strips({row.name: row.values for row in table.rows}, f"{table.title}{unit}")
    if data.selection.bootstrap:
        means = {one.name: one.foreground_mean_dice for one in data.selection.candidates}
        rows = [
            (
                one.name.replace("+", " + "),
                means[one.name],
                one.interval,
                one.name == data.selection.best.name,
            )
            for one in data.selection.bootstrap.candidates
            if not math.isnan(one.interval[0])
        ]
        units = data.selection.bootstrap.units
        what = f"mean Dice with 95 % interval over resampled {units} (filled: chosen)"
        inches = (_WIDTH, 0.9 + _ROW * len(rows))
        found["candidates"] = draw_svg(inches, lambda figure: _intervals(figure.subplots(), rows, what))
    return found


#: Data set, scores of every case by experiment, and pairs: name, mean difference, interval.
Compared = tuple[str, Mapping[str, Sequence[float]], Sequence[tuple[str, float, tuple[float, float]]]]


def draw_comparison(groups: Sequence[Compared]) -> str:
    """Draw, for each data set, Dice of its experiments at the left and their paired differences at the right."""
    heights = [max(2.4, 0.8 + _ROW * len(pairs)) for _, _, pairs in groups]
    return draw_svg((_WIDTH, sum(heights)), partial(_draw_comparison, groups, heights))


def _draw_comparison(groups: Sequence[Compared], heights: Sequence[float], figure: Figure) -> None:
    for (dataset, scores, pairs), (left, right) in zip(
        groups, figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights), strict=True
    ):
        _strips(left, scores, "mean Dice of a case")
        left.set_title(plain(dataset), loc="left", fontsize=9)
        rows = [(name.replace("+", " + "), mean, interval, True) for name, mean, interval in pairs]
        _intervals(right, rows, "mean difference in Dice, 95 % interval")
        right.axvline(0, color="black", linewidth=0.8, linestyle=":")


def _draw_strips(columns: Mapping[str, Sequence[float]], what: str) -> str:
    inches = (max(2.5, min(_WIDTH, 1.0 + 0.9 * len(columns))), 3.2)
    return draw_svg(inches, lambda figure: _strips(figure.subplots(), columns, what))


def _strips(axes: Axes, columns: Mapping[str, Sequence[float]], what: str) -> None:
    """A box (quartiles, median; whiskers to 1.5 times their distance) and a dot per value; NaN is left out."""
    _style(axes)
    values = [[value for value in column if not math.isnan(value)] for column in columns.values()]
    line = {"color": "black", "linewidth": 0.8}
    axes.boxplot(
        values,
        widths=0.6,
        showfliers=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops=line,
    )
    for place, column in enumerate(values):
        sideways = [place + 1 + 0.4 * ((i * GOLDEN) % 1 - 0.5) for i in range(len(column))]
        axes.scatter(sideways, column, s=9, color=class_colour(place), alpha=0.75, linewidths=0, zorder=3)
    axes.set_xlim(0.4, len(values) + 0.6)
    turned = sum(map(len, columns)) > _WIDE_NAMES
    axes.set_xticks(
        range(1, len(values) + 1), [plain(name) for name in columns], rotation=90 if turned else 0
    )
    axes.set_ylabel(what)


def _intervals(axes: Axes, rows: Sequence[tuple[str, float, tuple[float, float], bool]], what: str) -> None:
    """A row per name: value, interval, and whether the value's mark is filled."""
    _style(axes)
    for place, (_, value, interval, filled) in enumerate(reversed(rows)):
        axes.plot(interval, [place, place], color="black", linewidth=1)
        axes.plot([value], [place], "ko", markerfacecolor="black" if filled else "white", markersize=5)
    axes.set_yticks(range(len(rows)), [plain(name) for name, *_ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(what)


def _style(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
