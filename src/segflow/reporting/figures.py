"""Small figures of the report as SVG: training curves, and plots of Dice over cases; colours of targets."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from segflow.metrics.overlap import nan_mean
from segflow.reporting.cases import Measure
from segflow.reporting.data import History

__all__ = [
    "FAINT",
    "GOLDEN",
    "HEIGHT",
    "INK",
    "WIDTH",
    "DicePlot",
    "Scale",
    "class_colour",
    "common_scale",
    "draw_curves",
    "draw_histogram",
    "draw_svg",
    "in_colours",
    "lay_out_plot",
    "plain",
    "style_axes",
    "style_epochs",
]

#: Safe for any colour vision, most visible on grey images first. Source: Okabe & Ito 2008.
_CLASSES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")

_INCHES, _SMALL_INCHES = (4.6, 3.1), (3.3, 1.5)
_BINS = 24
_DECADES = 100  # between smallest and largest value: from there on, the axis is logarithmic
#: Maximum number of points of a curve, means of equal blocks of epochs.
_POINTS = 250
# matplotlib knows only colours: each stands for a CSS variable of the page, which differs between light and dark.
INK, FAINT = "#010101", "#020202"
_SERIES = {f"#0300{i:02x}": f"--series-{i + 1}" for i in range(5)}
_VARIABLES = {INK: "--ink", FAINT: "--line", **_SERIES}
_ON_WHITE = dict(
    zip(
        _VARIABLES, ("#1b2430", "#e2e6ec", "#0072b2", "#d55e00", "#009e73", "#b0568d", "#8a7a00"), strict=True
    )
)
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segflow",
    "font.size": 9.0,
    "text.parse_math": False,
}

#: Size of a plot of Dice over cases, in pixels.
WIDTH, HEIGHT = 300.0, 30.0
_MARGIN = 6.0
#: Points drawn; of more cases only those farthest from the median.
_MOST_POINTS = 200
#: Its multiples modulo 1 spread points evenly and reproducibly.
GOLDEN = (5**0.5 - 1) / 2
_JITTER = 0.55  # of the height
_TICK_STEPS = (0.02, 0.05, 0.1, 0.2)
_MOST_TICKS = 6


def class_colour(index: int) -> str:
    """The colour of a target by its place among the targets, such as "#E69F00"; colours repeat after seven."""
    return _CLASSES[index % len(_CLASSES)]


def draw_curves(histories: Iterable[History], *, inline: bool = True) -> dict[str, tuple[str, str]]:
    """Draw loss and pseudo-Dice of each configuration, a curve per fold.

    Args:
        histories: One per configuration and fold.
        inline: For the page, else for files.

    Returns:
        By configuration, two <svg> elements, in which colours are the CSS variables --ink, --line and --series-1 to
        --series-5; or SVG files in those that the page has on white.
    """
    runs = sorted(histories, key=lambda history: (history.configuration, history.fold))
    found = {}
    for name, group in groupby(runs, key=lambda run: run.configuration):
        folds = list(group)
        loss, dice = (draw_svg(_INCHES, partial(draw, folds)) for draw in (_draw_loss, _draw_dice))
        found[name] = (in_colours(loss, inline=inline), in_colours(dice, inline=inline))
    return found


def in_colours(svg: str, *, inline: bool) -> str:
    """A drawing in stand-ins for colours, for the page or for a file; see `draw_curves`."""
    if inline:
        return _inline(svg)
    for stand_in, colour in _ON_WHITE.items():
        svg = svg.replace(stand_in, colour)
    return svg


def draw_svg(inches: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """An SVG file of what a function draws; names stay text, whatever characters they have."""
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # Of matplotlib's font, not of the reader's.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=inches, layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    return buffer.getvalue()


def _draw_loss(folds: Sequence[History], figure: Figure) -> None:
    axes = figure.subplots()
    for history, colour in zip(folds, cycle(_SERIES), strict=False):
        label = f"fold {history.fold}"
        _plot(axes, history.epochs, history.train_loss, color=colour, lw=1.4, label=label)
        _plot(axes, history.epochs, history.validation_loss, color=colour, lw=0.9, ls=(0, (2, 1.5)))
    style_epochs(axes, "Loss (solid: training, dashed: held-out patches)", ink=INK, faint=FAINT)
    axes.legend(frameon=False, labelcolor=INK, ncols=2, handlelength=1.2)


def _draw_dice(folds: Sequence[History], figure: Figure) -> None:
    axes = figure.subplots()
    for history, colour in zip(folds, cycle(_SERIES), strict=False):
        _plot(axes, history.epochs, history.pseudo_dice, color=colour, lw=0.7, alpha=0.4)
        _plot(axes, history.epochs, history.ema_pseudo_dice, color=colour, lw=1.5)
    style_epochs(axes, "Pseudo-Dice (pale: epoch, bold: moving average)", ink=INK, faint=FAINT)


def draw_histogram(measure: Measure, *, inline: bool = True) -> str:
    """Draw how many cases have which value; on a logarithmic axis if sizes differ a hundredfold.

    Returns:
        As `draw_curves`.
    """
    return in_colours(draw_svg(_SMALL_INCHES, partial(_draw_histogram, measure)), inline=inline)


def _draw_histogram(measure: Measure, figure: Figure) -> None:
    values = list(measure.values.values())
    low, high = min(values), max(values)
    is_log = measure.is_size and high >= _DECADES * low
    edges = np.geomspace(low, high, _BINS + 1) if is_log else np.linspace(low, high, _BINS + 1)
    axes = figure.subplots()
    axes.hist(values, bins=edges.tolist(), color=next(iter(_SERIES)))
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    style_axes(axes, ink=INK, faint=FAINT)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_xlabel(measure.unit, color=INK)
    axes.set_ylabel("cases", color=INK)


def _plot(axes: Axes, epochs: Sequence[float], values: Sequence[float], **style: Any) -> None:
    size = max(1, math.ceil(len(epochs) / _POINTS))
    marker = "o" if len(epochs) == 1 else None
    axes.plot(_block_means(epochs, size), _block_means(values, size), marker=marker, **style)


def _block_means(values: Sequence[float], size: int) -> list[float]:
    """Means of consecutive blocks, NaN left out."""
    return [nan_mean(values[start : start + size]) for start in range(0, len(values), size)]


def style_epochs(axes: Axes, title: str, *, ink: str = "#000000", faint: str = "#C0C0C0") -> None:
    """The look of curves over epochs, in a colour for text and one for lines."""
    axes.set_title(title, color=ink, loc="left", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("epoch", color=ink)
    style_axes(axes, ink=ink, faint=faint)


def style_axes(axes: Axes, *, ink: str = INK, faint: str = FAINT) -> None:
    """Quiet axes and a grid."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink, color=faint, labelsize=8)
    axes.grid(visible=True, color=faint, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(faint)


def _inline(text: str) -> str:
    """An SVG file as an element of a page: without prologue, size and ids, to a tenth of a point, in CSS colours."""
    svg = text[text.index("<svg") :]
    for size in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()), svg)
    svg = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg.strip()


def plain(name: str) -> str:
    """A name without control characters, which XML does not have."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )


@dataclass(frozen=True)
class Scale:
    """Scores to pixels, from `low` at the left end to `high`; the same for all of a table. `ticks` are labelled."""

    low: float
    ticks: tuple[float, ...]
    high: float = 1.0

    def x(self, score: float) -> float:
        """Pixels from the left."""
        share = (score - self.low) / (self.high - self.low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)


@dataclass(frozen=True)
class DicePlot:
    """A point per case, and a box from quartile to quartile.

    Attributes:
        points: x and y in pixels, and a text.
        quartiles: x of the first quartile, the median and the third quartile; empty without data.
    """

    points: tuple[tuple[float, float, str], ...]
    quartiles: tuple[float, ...]


def common_scale(dice: Sequence[float]) -> Scale:
    """A scale that shows all values, from the next lower tick to 1; NaN is ignored."""
    lowest = min((value for value in dice if not math.isnan(value)), default=0.0)
    step = next((s for s in _TICK_STEPS if (1 - lowest) / s <= _MOST_TICKS - 1), _TICK_STEPS[-1])
    n = max(1, math.ceil(round((1 - lowest) / step, 6)))
    ticks = tuple(round(1 - i * step, 2) for i in reversed(range(n + 1)))
    return Scale(low=ticks[0], ticks=ticks)


def lay_out_plot(cases: Sequence[tuple[str, float]], scale: Scale) -> DicePlot:
    """The plot of one target, from the name and Dice of each case; NaN is ignored."""
    defined = [(name, dice) for name, dice in cases if not math.isnan(dice)]
    if not defined:
        return DicePlot((), ())
    first, median, third = (float(q) for q in np.percentile([dice for _, dice in defined], (25, 50, 75)))
    if len(defined) > _MOST_POINTS:
        defined = sorted(defined, key=lambda pair: -abs(pair[1] - median))[:_MOST_POINTS]
    points = tuple((scale.x(d), _jittered(i), f"{name}: {d:.3f}") for i, (name, d) in enumerate(defined))
    return DicePlot(points, tuple(scale.x(q) for q in (first, median, third)))


def _jittered(index: int) -> float:
    return round(HEIGHT * (0.5 + _JITTER * ((index * GOLDEN) % 1 - 0.5)), 1)
