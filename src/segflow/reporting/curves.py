"""Training curves as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segflow.reporting.colours import SERIES
from segflow.reporting.data import History

__all__ = ["draw_curves"]

_INCHES = (9.2, 3.1)
#: A curve is drawn with at most so many points, means of equal blocks of epochs. Source: ours.
_POINTS = 250
# Stand-ins for CSS variables, since matplotlib knows only colours.
_INK, _FAINT = "#010101", "#020202"
_STAND_INS = {f"#0300{i:02x}": name for i, name in enumerate(SERIES)}
_VARIABLES = {_INK: "--ink", _FAINT: "--line", **_STAND_INS}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_RC: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "segflow", "font.size": 9.0}


def draw_curves(histories: Sequence[History]) -> str:
    """Draw loss and pseudo-Dice of the folds of one configuration.

    Args:
        histories: One per fold.

    Returns:
        An <svg> element; colours are the CSS variables --ink, --line and --series-1 to --series-5.

    Source: ours.
    """
    with mpl.rc_context(_RC):
        figure = Figure(figsize=_INCHES, layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        left, right = figure.subplots(1, 2)
        for number, history in enumerate(histories):
            colour = list(_STAND_INS)[number % len(_STAND_INS)]
            label = f"fold {history.fold}"
            _plot(left, history.epochs, history.train_loss, color=colour, lw=1.4, label=label)
            _plot(left, history.epochs, history.validation_loss, color=colour, lw=0.9, ls=(0, (2, 1.5)))
            _plot(right, history.epochs, history.pseudo_dice, color=colour, lw=0.7, alpha=0.4)
            _plot(right, history.epochs, history.ema_pseudo_dice, color=colour, lw=1.5)
        _dress(left, "Loss (solid: training, dashed: held-out patches)")
        _dress(right, "Pseudo-Dice (pale: epoch, bold: moving average)")
        left.legend(frameon=False, labelcolor=_INK, ncols=2, handlelength=1.2)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    return _inline(buffer.getvalue())


def _plot(axes: Axes, epochs: Sequence[float], values: Sequence[float], **style: Any) -> None:
    size = -(-len(epochs) // _POINTS) or 1
    marker = "o" if len(epochs) == 1 else None
    axes.plot(_block_means(epochs, size), _block_means(values, size), marker=marker, **style)


def _block_means(values: Sequence[float], size: int) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    starts = np.arange(0, array.size, size)
    if not starts.size:
        return array
    defined = np.add.reduceat((~np.isnan(array)).astype(np.float64), starts)
    total = np.add.reduceat(np.nan_to_num(array), starts)
    means: NDArray[np.float64] = np.divide(
        total, defined, out=np.full(starts.size, np.nan), where=defined > 0
    )
    return means


def _dress(axes: Axes, title: str) -> None:
    axes.set_facecolor("none")
    axes.set_title(title, color=_INK, loc="left", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("epoch", color=_INK)
    axes.tick_params(colors=_INK, color=_FAINT, labelsize=8)
    axes.grid(visible=True, color=_FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)


def _inline(text: str) -> str:
    """An SVG file as an element of a page: no prologue, size or ids; tenths of points; CSS colours."""
    svg = text[text.index("<svg") :]
    for size in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()), svg)
    svg = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg.strip()
