"""The picture of a training: losses, pseudo-Dice, learning rate, seconds per epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segflow.reporting.figures import class_colour, style_epochs

__all__ = ["draw_progress"]

_INCHES, _DPI = (11.0, 7.0), 100
_FIRST, _SECOND = "#0072B2", "#D55E00"
_PALE: Final = {"lw": 0.8, "alpha": 0.6}
_LEGEND: Final = {"frameon": False, "fontsize": 8, "ncols": 2}


def draw_progress(records: Sequence[Mapping[str, Any]], target_names: Sequence[str]) -> bytes:
    """Draw a training, finished or not, as a PNG file.

    Args:
        records: One per epoch, with the keys of an `EpochRecord`.
        target_names: One per entry of its `pseudo_dice`.
    """
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    (losses, dice), (rate, seconds) = figure.subplots(2, 2)
    columns = {key: [record[key] for record in records] for key in (records[0] if records else ())}
    _draw(losses, "loss", columns, {"train_loss": _FIRST, "validation_loss": _SECOND})
    _draw_dice(dice, columns, target_names)
    _draw(rate, "learning rate", columns, {"learning_rate": _FIRST})
    _draw(seconds, "seconds per epoch", columns, {"seconds": _FIRST})
    seconds.set_ylim(bottom=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, title: str, columns: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> None:
    for name, colour in colours.items():
        _line(axes, columns, columns.get(name, ()), color=colour, label=name.replace("_", " "))
    style_epochs(axes, title)
    if len(colours) > 1:
        axes.legend(loc="upper right", **_LEGEND)


def _draw_dice(axes: Axes, columns: Mapping[str, Sequence[Any]], target_names: Sequence[str]) -> None:
    rows = columns.get("pseudo_dice", ())
    for number, name in enumerate(target_names):
        values = [row[number] for row in rows]
        _line(axes, columns, values, color=class_colour(number), label=name.replace("$", r"\$"), **_PALE)
    _line(axes, columns, columns.get("ema", ()), color="#000000", lw=1.8, label="mean, moving average")
    style_epochs(axes, "pseudo-Dice of held-out patches")
    axes.legend(loc="lower right", **_LEGEND)


def _line(axes: Axes, columns: Mapping[str, Sequence[float]], values: Sequence[float], **style: Any) -> None:
    marker = "o" if len(values) == 1 else None
    axes.plot(columns.get("epoch", ()), values, marker=marker, **({"lw": 1.4} | style))
