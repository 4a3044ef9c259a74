"""Pictures of a case: image, reference contour and predicted contour."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap, Mask, SpacingMm
from segflow.contracts.labels import Labels, members
from segflow.reporting.figures import class_colour

__all__ = ["SlicePair", "cut_slice", "draw_overlay"]

_PANEL_INCHES, _DPI = 3.2, 180
_WINDOW_PERCENT = (0.5, 99.5)  # of the slice's intensities, black to white
_MARGIN = 0.35  # of the foreground's extent, around it
_LEAST_MARGIN_PIXELS = 6
_LINE_POINTS, _RIM_POINTS, _TEXT_POINTS = 1.7, 3.0, 9
_BACKDROP, _FRAME, _RIM = "#101418", "#FFFFFF", "#000000"
_DASH = (0, (2.4, 1.6))
_RGB_CHANNELS = 3


@dataclass(frozen=True)
class SlicePair:
    """One slice of a case, with prediction and reference.

    Attributes:
        image: (rows, columns), or (rows, columns, 3) for colour.
        prediction, reference: (rows, columns).
        pixel_aspect: Height of a pixel over its width.
        note: Which slice it is.
    """

    image: NDArray[np.float32]
    prediction: LabelMap
    reference: LabelMap
    pixel_aspect: float
    note: str


def cut_slice(
    image: Image, prediction: LabelMap, reference: LabelMap, labels: Labels, *, spacing_mm: SpacingMm
) -> SlicePair:
    """Take the slice with the most annotated foreground, perpendicular to the axis of coarsest spacing.

    Without annotation it is the slice with the most predicted foreground, and without either the middle one.

    Args:
        image: (c, z, y, x); the first channel is shown, or all three of a 2D colour image.
        prediction: (z, y, x).
        reference: (z, y, x).
        labels: Classes or regions.
        spacing_mm: Along z, y, x.

    Returns:
        The slice, with feet down if it is not axial.
    """
    axis = 0 if reference.shape[0] == 1 else int(np.argmax(spacing_mm))
    n = reference.shape[axis]
    foreground = (_foreground_per_slice(label_map, labels, axis) for label_map in (reference, prediction))
    index = next((int(counts.argmax()) for counts in foreground if counts.any()), n // 2)
    colour = image.shape[0] == _RGB_CHANNELS and image.shape[1] == 1
    pixels = np.moveaxis(image[:, 0], 0, -1) if colour else np.take(image[0], index, axis=axis)
    planes = [pixels, np.take(prediction, index, axis=axis), np.take(reference, index, axis=axis)]
    pixels, predicted, annotated = planes if axis == 0 else [plane[::-1] for plane in planes]
    height, width = [mm for i, mm in enumerate(spacing_mm) if i != axis]
    note = "" if n == 1 else f"{('axial', 'coronal', 'sagittal')[axis]} slice {index + 1} of {n}"
    return SlicePair(pixels.astype(np.float32), predicted, annotated, height / width, note)


def draw_overlay(pair: SlicePair, labels: Labels, *, caption: str = "") -> bytes:
    """Draw the whole slice, and above it the foreground enlarged with contours of every target, as a PNG file.

    Solid lines are the reference, dashed lines with a dark rim the prediction. With a caption, it and the names of the
    targets in the slice are written above: such a picture needs no page around it.
    """
    figure = Figure(figsize=(_PANEL_INCHES, 2 * _PANEL_INCHES), dpi=_DPI, facecolor=_BACKDROP)
    FigureCanvasAgg(figure)
    rows, columns = _region_of_interest(pair, labels)
    names: list[tuple[str, str]] = []
    for place, whole in enumerate((True, False)):
        axes = figure.add_axes((0.008, 0.5 * place + 0.004, 0.984, 0.492))
        axes.set_axis_off()
        axes.imshow(_window(pair.image), cmap="gray", aspect=pair.pixel_aspect, interpolation="nearest")
        if whole:
            _frame(axes, rows, columns)
            continue
        axes.set_xlim(columns[0] - 0.5, columns[1] - 0.5)
        axes.set_ylim(rows[1] - 0.5, rows[0] - 0.5)
        for number, target in enumerate(labels.targets):
            reference, prediction = (np.isin(m, members(target)) for m in (pair.reference, pair.prediction))
            _contour(axes, reference, class_colour(number), dash="solid")
            _contour(axes, prediction, _RIM, dash=_DASH, width=_RIM_POINTS)
            _contour(axes, prediction, class_colour(number), dash=_DASH)
            if reference.any() or prediction.any():
                names.append((labels.target_names[number], class_colour(number)))
    if caption:
        _write(figure, [(caption, _FRAME), *names])
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a name in a script that the font lacks
        figure.savefig(buffer, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    return buffer.getvalue()


def _write(figure: Figure, lines: Sequence[tuple[str, str]]) -> None:
    """Lines of text, each in its colour, from the upper left corner down."""
    rim: list[AbstractPathEffect] = [withStroke(linewidth=_RIM_POINTS, foreground=_RIM)]
    height = 1.6 * _TEXT_POINTS / (72 * 2 * _PANEL_INCHES)
    for number, (text, colour) in enumerate(lines, start=1):
        line = figure.text(0.02, 1 - number * height, text, color=colour, size=_TEXT_POINTS)
        line.set_path_effects(rim)
        line.set_parse_math(False)


def _foreground_per_slice(label_map: LabelMap, labels: Labels, axis: int) -> NDArray[np.integer[Any]]:
    foreground = np.isin(label_map, labels.foreground_values)
    counts: NDArray[np.integer[Any]] = foreground.sum(axis=tuple(i for i in range(3) if i != axis))
    return counts


def _window(image: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.percentile(image, _WINDOW_PERCENT)
    span = high - low if high > low else 1.0
    scaled: NDArray[np.float32] = np.clip((image - low) / span, 0, 1)
    return scaled


def _region_of_interest(pair: SlicePair, labels: Labels) -> tuple[tuple[int, int], tuple[int, int]]:
    """Half-open rows and columns around all foreground; the whole slice if there is none."""
    values = labels.foreground_values
    foreground = np.isin(pair.reference, values) | np.isin(pair.prediction, values)
    limits = []
    for axis, size in enumerate(foreground.shape):
        hit = np.flatnonzero(foreground.any(axis=1 - axis))
        first, stop = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, size)
        margin = max(_LEAST_MARGIN_PIXELS, round(_MARGIN * (stop - first)))
        limits.append((max(0, first - margin), min(size, stop + margin)))
    return limits[0], limits[1]


def _frame(axes: Axes, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    corner, width, height = (columns[0] - 0.5, rows[0] - 0.5), columns[1] - columns[0], rows[1] - rows[0]
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=_FRAME, linewidth=1, alpha=0.8))


def _contour(axes: Axes, mask: Mask, colour: str, *, dash: Any, width: float = _LINE_POINTS) -> None:
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(np.float32)  # closes contours at the border
    x, y = (np.arange(-1, size + 1) for size in (mask.shape[1], mask.shape[0]))
    lines = axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=width)
    lines.set(linestyle=dash)
