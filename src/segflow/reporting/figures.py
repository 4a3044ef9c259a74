"""Figures as SVG, each drawn once: the files are on white, and the page has them in its own colours."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle, groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator, NullFormatter

from segflow.contracts.assessment import AssessedClass, Assessment
from segflow.reporting.cases import Measure
from segflow.reporting.data import History

__all__ = [
    "class_colour",
    "class_colours",
    "draw_assessment",
    "draw_comparison",
    "draw_curves",
    "draw_histogram",
    "draw_intervals",
    "draw_strips",
    "on_page",
    "style_epochs",
]

#: Safe for any colour vision, most visible on grey images first. Source: Okabe & Ito 2008.
_CLASSES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")
# Those that the page exchanges for its CSS variables, since it may be dark; none of them is the colour of a class.
_INK, _FAINT = "#1b2430", "#e2e6ec"
_SERIES = ("#0072b3", "#d55e01", "#009e74", "#b0568d", "#8a7a00")
_VARIABLES = {_INK: "--ink", _FAINT: "--line"} | {c: f"--series-{i}" for i, c in enumerate(_SERIES, 1)}

_CURVE_INCHES, _SMALL_INCHES, _PANEL_INCHES = (4.6, 3.1), (3.3, 1.5), (3.1, 2.7)
_PANELS = 3  # beside each other
_WIDTH, _STRIP_WIDTH = 7.0, 5.0
_ROW, _AXIS = 0.32, 0.6  # inches per name, and what the axis needs
_BINS = 24
_DECADES = 100  # between smallest and largest value: from there on, the axis is logarithmic
#: Points of a curve, means of equal blocks of epochs; dots of a name, of more cases those farthest from the median.
_POINTS, _DOTS = 250, 200
#: Its multiples modulo 1 spread dots evenly and reproducibly.
_GOLDEN = (5**0.5 - 1) / 2
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segflow",
    "font.size": 9.0,
    "text.parse_math": False,
}

#: A name's value in every case, by case.
Strips = Mapping[str, Iterable[tuple[str, float]]]
#: Name, value, interval, and whether the value's mark is filled.
Interval = tuple[str, float, tuple[float, float], bool]


def class_colour(index: int) -> str:
    """The colour of a target by its place among the targets, such as "#E69F00"; colours repeat after seven."""
    return _CLASSES[index % len(_CLASSES)]


def class_colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each target, by name."""
    return {name: class_colour(number) for number, name in enumerate(names)}


def draw_curves(histories: Iterable[History]) -> dict[str, str]:
    """Draw loss and pseudo-Dice of each configuration, a curve per fold; by configuration, "_" and "loss" or "dice"."""
    runs = sorted(histories, key=lambda history: (history.configuration, history.fold))
    found = {}
    for name, group in groupby(runs, key=lambda run: run.configuration):
        folds = list(group)
        for what, draw in (("loss", _draw_loss), ("dice", _draw_dice)):
            found[f"{name}_{what}"] = _draw_svg(_CURVE_INCHES, partial(draw, folds))
    return found


def draw_histogram(measure: Measure) -> str:
    """Draw how many cases have which value; on a logarithmic axis if sizes differ a hundredfold."""
    return _draw_svg(_SMALL_INCHES, partial(_draw_histogram, measure))


def draw_strips(strips: Strips, what: str, colours: Mapping[str, str]) -> str:
    """Draw a row per name, with a dot per case and a box from quartile to quartile, over a labelled axis."""
    inches = (_STRIP_WIDTH, _AXIS + _ROW * len(strips))
    return _draw_svg(inches, lambda figure: _strips(figure.subplots(), strips, what, colours))


def draw_intervals(rows: Sequence[Interval], what: str) -> str:
    """Draw a row per name, with its value and its interval, over a labelled axis."""
    inches = (_WIDTH, _AXIS + _ROW * len(rows))
    return _draw_svg(inches, lambda figure: _intervals(figure.subplots(), rows, what))


def draw_comparison(groups: Sequence[tuple[str, Strips, Sequence[Interval]]]) -> str:
    """Draw for each data set the Dice of its experiments, and at the right their paired differences."""
    heights = [_AXIS + 0.3 + _ROW * max(len(strips), len(rows)) for _, strips, rows in groups]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights)
        for (dataset, strips, rows), (left, right) in zip(groups, axes, strict=True):
            _strips(left, strips, "mean Dice of a case", class_colours(strips))
            left.set_title(_printable(dataset), loc="left", fontsize=9)
            _intervals(right, rows, "mean difference in Dice, 95 % interval")
            right.axvline(0, color=_INK, lw=0.8, ls=":")

    return _draw_svg((_WIDTH, sum(heights)), draw)


def draw_assessment(assessment: Assessment) -> dict[str, str]:
    """Draw agreement of volumes and reliability of probabilities, a panel per class in which they were measured."""
    panels: dict[str, list[Callable[[FigureBase], None]]] = {"bland_altman": [], "calibration": []}
    for number, one in enumerate(assessment.classes):
        if one.agreement:
            panels["bland_altman"].append(partial(_draw_agreement, assessment, one, class_colour(number)))
        if one.calibration:
            panels["calibration"].append(partial(_draw_reliability, one, class_colour(number)))
    return {name: _draw_panels(drawn) for name, drawn in panels.items() if drawn}


def on_page(text: str) -> str:
    """A file of these as an element of a page: rounded, without ids, with its size and colours as CSS variables."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="([^"]*)"', r'\1 style="--width: \2"', svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()), svg)
    svg = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()


def style_epochs(axes: Axes, title: str, *, ink: str = "#000000", faint: str = "#C0C0C0") -> None:
    """The look of curves over epochs, in a colour for text and one for lines."""
    axes.set_title(title, color=ink, loc="left", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("epoch", color=ink)
    _style(axes, ink=ink, faint=faint)


def _draw_svg(inches: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """An SVG file of what a function draws; names stay text, whatever characters they have."""
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # Of matplotlib's font, not of the reader's.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=inches, layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    # What a dot says: matplotlib knows links, but no titles.
    return re.sub(
        r'<a xlink:href="([^"]*)"[^>]*>(.*?)</a>',
        r"<g><title>\1</title>\2</g>",
        buffer.getvalue(),
        flags=re.DOTALL,
    )


def _draw_loss(folds: Sequence[History], figure: Figure) -> None:
    axes = figure.subplots()
    for history, colour in zip(folds, cycle(_SERIES), strict=False):
        label = f"fold {history.fold}"
        _plot(axes, history, "train_loss", color=colour, lw=1.4, label=label)
        _plot(axes, history, "validation_loss", color=colour, lw=0.9, ls=(0, (2, 1.5)))
    style_epochs(axes, "Loss (solid: training, dashed: held-out patches)", ink=_INK, faint=_FAINT)
    axes.legend(frameon=False, labelcolor=_INK, ncols=2, handlelength=1.2)


def _draw_dice(folds: Sequence[History], figure: Figure) -> None:
    axes = figure.subplots()
    for history, colour in zip(folds, cycle(_SERIES), strict=False):
        _plot(axes, history, "mean_pseudo_dice", color=colour, lw=0.7, alpha=0.4)
        _plot(axes, history, "ema_pseudo_dice", color=colour, lw=1.5)
    style_epochs(axes, "Pseudo-Dice (pale: epoch, bold: moving average)", ink=_INK, faint=_FAINT)


def _plot(axes: Axes, history: History, column: str, **style: Any) -> None:
    """A column over epochs, as means of equal blocks; NaN is left out."""
    table = history.epochs[["epoch", column]]
    means = table.groupby(np.arange(len(table)) // max(1, math.ceil(len(table) / _POINTS))).mean()
    marker = "o" if len(table) == 1 else None
    axes.plot(means["epoch"], means[column], marker=marker, **style)


def _draw_histogram(measure: Measure, figure: Figure) -> None:
    values = list(measure.values.values())
    low, high = min(values), max(values)
    is_log = measure.is_size and high >= _DECADES * low
    edges = np.geomspace(low, high, _BINS + 1) if is_log else np.linspace(low, high, _BINS + 1)
    axes = figure.subplots()
    axes.hist(values, bins=edges.tolist(), color=_SERIES[0])
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    _style(axes)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_xlabel(measure.unit, color=_INK)
    axes.set_ylabel("cases", color=_INK)


def _strips(axes: Axes, strips: Strips, what: str, colours: Mapping[str, str]) -> None:
    """Boxes are quartiles and median, whiskers 1.5 times their distance long; NaN is left out."""
    line = {"color": _INK, "linewidth": 0.8}
    looks: dict[str, Any] = dict.fromkeys(("boxprops", "whiskerprops", "capprops", "medianprops"), line)
    for place, (name, points) in enumerate(strips.items()):
        known = [(case, value) for case, value in points if not math.isnan(value)]
        values = [value for _, value in known]
        axes.boxplot(
            values, positions=[place], widths=0.6, showfliers=False, orientation="horizontal", **looks
        )
        if len(known) > _DOTS:
            median = float(np.median(values))
            known = sorted(known, key=lambda pair: -abs(pair[1] - median))[:_DOTS]
        heights = [place + 0.4 * ((i * _GOLDEN) % 1 - 0.5) for i in range(len(known))]
        dots = axes.scatter([value for _, value in known], heights, s=12, color=colours[name], lw=0, zorder=3)
        dots.set_alpha(0.8)
        dots.set_urls([_printable(f"{case}: {value:.3f}") for case, value in known])
    _name_rows(axes, list(strips), what)


def _intervals(axes: Axes, rows: Sequence[Interval], what: str) -> None:
    for place, (_, value, interval, is_filled) in enumerate(rows):
        axes.plot(interval, [place, place], color=_INK, lw=1)
        axes.plot([value], [place], "o", color=_INK, mfc=_INK if is_filled else "white", ms=5)
    _name_rows(axes, [name for name, *_ in rows], what)


def _name_rows(axes: Axes, names: Sequence[str], what: str) -> None:
    _style(axes)
    axes.set_yticks(range(len(names)), list(map(_printable, names)))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(what, color=_INK)


def _draw_panels(panels: Sequence[Callable[[FigureBase], None]]) -> str:
    rows, columns = math.ceil(len(panels) / _PANELS), min(len(panels), _PANELS)

    def draw(figure: Figure) -> None:
        parts = figure.subfigures(rows, columns, squeeze=False).ravel().tolist()
        for panel, part in zip(panels, parts, strict=False):
            panel(part)

    return _draw_svg((_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), draw)


def _panel(one: AssessedClass, figure: FigureBase, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set_title(_printable(one.name), color=_INK, loc="left", fontsize=9)
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    _style(axes)
    return axes


def _draw_agreement(assessment: Assessment, one: AssessedClass, colour: str, figure: FigureBase) -> None:
    """Difference over mean of both volumes, one dot per case. Source: Bland & Altman 1986."""
    rows = [case.values[one.target] for case in assessment.cases]
    rows = [row for row in rows if not math.isnan(row["volume"])]
    axes = _panel(one, figure, "mean of both volumes, ml", "predicted \N{MINUS SIGN} reference, ml")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    means = [(row["predicted_ml"] + row["reference_ml"]) / 2 for row in rows]
    axes.plot(means, [row["volume"] for row in rows], "o", ms=4, color=colour, mew=0, alpha=0.8)
    axes.axhline(0, color=_FAINT, lw=0.8)
    if one.agreement is not None:
        axes.axhline(one.agreement.bias, color=_INK, lw=1.2)
        for limit in one.agreement.limits:
            axes.axhline(limit, color=_INK, lw=0.8, ls=(0, (4, 2)))


def _draw_reliability(one: AssessedClass, colour: str, figure: FigureBase) -> None:
    """Share of a bin's voxels in the class over their mean probability, and the diagonal where both are equal."""
    axes = _panel(one, figure, "predicted probability", "share of voxels in the class")
    axes.plot((0, 1), (0, 1), color=_INK, lw=0.6, ls=(0, (1, 2)))
    bins = one.calibration.bins if one.calibration else ()
    axes.plot([b.probability for b in bins], [b.share for b in bins], marker="o", ms=4, lw=1.4, color=colour)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _style(axes: Axes, *, ink: str = _INK, faint: str = _FAINT) -> None:
    """Quiet axes and a grid."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink, color=faint, labelsize=8)
    axes.grid(visible=True, color=faint, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(faint)


def _printable(name: str) -> str:
    """A name without control characters, which XML does not have."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )
