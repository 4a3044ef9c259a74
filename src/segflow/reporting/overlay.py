"""Pictures of a case: image, reference contour and predicted contour."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray
from PIL import Image as Picture

from segflow.contracts.arrays import Image, LabelMap, Mask, SpacingMm
from segflow.contracts.case import Geometry
from segflow.contracts.labels import Labels, Target, members
from segflow.reporting.figures import class_colour

__all__ = [
    "THUMBNAIL",
    "SlicePair",
    "View",
    "cut_slice",
    "draw_overlay",
    "draw_slices",
    "draw_thumbnail",
    "main_axis",
    "view_of",
]

_PANEL_INCHES, _DPI = 3.2, 180
_WINDOW_PERCENT = (0.5, 99.5)  # of the slice's intensities, black to white
_MARGIN = 0.35  # of the foreground's extent, around it
_LEAST_MARGIN_PIXELS = 6
_LINE_POINTS, _RIM_POINTS, _TEXT_POINTS = 1.7, 3.0, 9
_BACKDROP, _FRAME, _RIM = "#101418", "#FFFFFF", "#000000"
_DASH = (0, (2.4, 1.6))
_RGB_CHANNELS = 3
_FLAT_DIMENSIONS = 2
_ABOUT_EQUAL = 1.05  # spacings within 5 %
_TRACED = 600  # rows or columns at most of a mask whose contour is traced

#: Pixels of a thumbnail's panels, each a square.
THUMBNAIL = 128
_SEEN = 8 * THUMBNAIL  # rows or columns at most of a slice from which a thumbnail is made
_SLICE, _MOST_SLICES = 192, 24  # of a case that can be scrolled through: pixels of a panel
_OPACITY = 0.55  # of classes over the image
_QUALITY = {"quality": 75, "subsampling": 0}  # colours of thin lines at full resolution


@dataclass(frozen=True)
class View:
    """A case in the orientation in which it is shown.

    Attributes:
        image: (c, z, y, x).
        prediction, reference: (z, y, x).
        spacing_mm: Along z, y, x.
        planes: Names of the slices perpendicular to z, y, x; empty if the file says nothing of the body's axes.
    """

    image: Image
    prediction: LabelMap
    reference: LabelMap
    spacing_mm: SpacingMm
    planes: tuple[str, ...] = ()


def view_of(
    image: Image, prediction: LabelMap, reference: LabelMap, geometry: Geometry, *, has_orientation: bool
) -> View:
    """Turn a case so that z goes from feet to head, y from front to back and x from right to left, without resampling.

    Args:
        image: (c, z, y, x), in the order of the file.
        prediction: (z, y, x).
        reference: (z, y, x).
        geometry: Of the file; each of its axes is taken for the axis of the body that it is closest to.
        has_orientation: Whether the format knows the axes of the body; otherwise nothing is turned.
    """
    if not has_orientation or geometry.file_dimensions == _FLAT_DIMENSIONS:
        return View(image, prediction, reference, geometry.spacing_mm)
    direction = np.reshape(geometry.direction, (3, 3))[
        ::-1, ::-1
    ]  # of the body's z, y, x by the array's axes
    order = max(permutations(range(3)), key=lambda axes: float(np.abs(direction[range(3), axes]).sum()))
    turned = tuple(slice(None, None, -1 if direction[i, axis] < 0 else 1) for i, axis in enumerate(order))
    return View(
        image.transpose(0, *(axis + 1 for axis in order))[(slice(None), *turned)],
        prediction.transpose(order)[turned],
        reference.transpose(order)[turned],
        (geometry.spacing_mm[order[0]], geometry.spacing_mm[order[1]], geometry.spacing_mm[order[2]]),
        ("axial", "coronal", "sagittal"),
    )


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


def main_axis(view: View) -> int:
    """The axis of coarsest spacing, whose slices were most likely drawn in; z if it is not much finer than that."""
    if view.reference.shape[0] == 1 or view.spacing_mm[0] * _ABOUT_EQUAL >= max(view.spacing_mm):
        return 0
    return int(np.argmax(view.spacing_mm))


def cut_slice(
    view: View, labels: Labels, *, axis: int | None = None, target: Target | None = None
) -> SlicePair:
    """Take the slice with the most annotated voxels.

    Without annotation it is the slice with the most predicted voxels, and without either the middle one.

    Args:
        view: The case; the first channel is shown, or all three of a 2D colour image.
        labels: Classes or regions.
        axis: The slice is perpendicular to it; None: to the main axis.
        target: The class or region whose voxels count; None: all foreground.

    Returns:
        The slice; the head is up, or the front in axial slices, and the right side of the body at the left.
    """
    axis = main_axis(view) if axis is None else axis
    values = labels.foreground_values if target is None else members(target)
    n = view.reference.shape[axis]
    counts = (_voxels_per_slice(label_map, values, axis) for label_map in (view.reference, view.prediction))
    index = next((int(found.argmax()) for found in counts if found.any()), n // 2)
    return _slice_at(view, axis, index)


def _slice_at(view: View, axis: int, index: int) -> SlicePair:
    colour = view.image.shape[0] == _RGB_CHANNELS and view.image.shape[1] == 1
    pixels = np.moveaxis(view.image[:, 0], 0, -1) if colour else np.take(view.image[0], index, axis=axis)
    planes = [
        pixels,
        *(np.take(label_map, index, axis=axis) for label_map in (view.prediction, view.reference)),
    ]
    pixels, predicted, annotated = planes if axis == 0 else [plane[::-1] for plane in planes]
    height, width = [mm for i, mm in enumerate(view.spacing_mm) if i != axis]
    name = f"{view.planes[axis]} slice" if view.planes else "slice"
    n = view.reference.shape[axis]
    note = "" if n == 1 else f"{name} {index + 1} of {n}"
    return SlicePair(pixels.astype(np.float32), predicted, annotated, height / width, note)


def draw_thumbnail(pair: SlicePair, labels: Labels, *, is_predicted: bool = True) -> bytes:
    """Image, reference and (if there is one) prediction side by side, with classes in colour, as a JPEG file.

    Each panel is a square of `THUMBNAIL` pixels, in which the whole slice is seen.
    """
    return _jpeg(_panels(pair, labels, THUMBNAIL, is_predicted=is_predicted))


def draw_slices(view: View, labels: Labels) -> tuple[bytes, int]:
    """Slices from the first to the last one with foreground, perpendicular to the main axis, one below the other.

    Returns:
        A JPEG file, in which each slice is as in `draw_thumbnail`, and their number: at most 24.
    """
    axis = main_axis(view)
    counts = sum(
        _voxels_per_slice(m, labels.foreground_values, axis) for m in (view.reference, view.prediction)
    )
    hit = np.flatnonzero(counts) if np.any(counts) else np.arange(view.reference.shape[axis])
    n = min(_MOST_SLICES, int(hit[-1] - hit[0]) + 1)
    sheet = Picture.new("RGB", (3 * _SLICE, n * _SLICE))
    for place, index in enumerate(np.linspace(hit[0], hit[-1], n).round().astype(int)):
        sheet.paste(_panels(_slice_at(view, axis, int(index)), labels, _SLICE), (0, place * _SLICE))
    return _jpeg(sheet), n


def _panels(pair: SlicePair, labels: Labels, side: int, *, is_predicted: bool = True) -> Picture.Image:
    """Squares of a side in pixels."""
    step = math.ceil(max(pair.reference.shape) / _SEEN)
    grey = _window(pair.image[::step, ::step])
    plain = grey if grey.ndim > _FLAT_DIMENSIONS else np.repeat(grey[..., None], _RGB_CHANNELS, axis=-1)
    height, width = plain.shape[0] * pair.pixel_aspect, plain.shape[1]
    scale = side / max(height, width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    label_maps = [np.zeros_like(pair.reference), pair.reference, *([pair.prediction] if is_predicted else [])]
    sheet = Picture.new("RGB", (len(label_maps) * side, side), _BACKDROP)
    for place, label_map in enumerate(label_maps):
        pixels = plain.copy()
        for number, target in enumerate(labels.targets):
            inside = np.isin(label_map[::step, ::step], members(target))
            colour = np.array(to_rgb(class_colour(number)))
            pixels[inside] = (1 - _OPACITY) * plain[inside] + _OPACITY * colour
        panel = Picture.fromarray(np.rint(255 * pixels).astype(np.uint8)).resize(size, Picture.Resampling.BOX)
        sheet.paste(panel, (place * side + (side - size[0]) // 2, (side - size[1]) // 2))
    return sheet


def _jpeg(sheet: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", **_QUALITY)
    return buffer.getvalue()


def draw_overlay(
    pair: SlicePair,
    labels: Labels,
    *,
    caption: str = "",
    on_top: Target | None = None,
    dpi: int = _DPI,
    kind: Literal["png", "jpg"] = "png",
) -> bytes:
    """Draw the whole slice, and above it the foreground enlarged with contours of every target, as a PNG or JPEG file.

    Solid lines are the reference, dashed lines with a dark rim the prediction. With a caption, it and the names of the
    targets in the slice are written above: such a picture needs no page around it. One target may be drawn over others.
    """
    figure = Figure(figsize=(_PANEL_INCHES, 2 * _PANEL_INCHES), dpi=dpi, facecolor=_BACKDROP)
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
        for number, target in sorted(enumerate(labels.targets), key=lambda each: each[1] == on_top):
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
        if kind == "jpg":
            figure.savefig(buffer, format="jpg", pil_kwargs=_QUALITY)
        else:
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


def _voxels_per_slice(label_map: LabelMap, values: Iterable[int], axis: int) -> NDArray[np.integer[Any]]:
    counts: NDArray[np.integer[Any]] = np.isin(label_map, list(values)).sum(
        axis=tuple(i for i in range(3) if i != axis)
    )
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
    """Trace a mask in the part of it that is shown, at about the resolution of the picture."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    rows, columns = (
        slice(round(low + 0.5), round(high + 0.5)) for low, high in ((top, bottom), (left, right))
    )
    mask = mask[rows, columns]
    step = math.ceil(max(mask.shape) / _TRACED)
    mask = mask[::step, ::step]
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(np.float32)  # closes contours at the border
    x, y = (
        part.start + step * np.arange(-1, size + 1)
        for part, size in ((columns, mask.shape[1]), (rows, mask.shape[0]))
    )
    lines = axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=width)
    lines.set(linestyle=dash)
