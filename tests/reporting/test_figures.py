"""Training curves, plots of Dice over cases, colours of targets."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from math import nan

import numpy as np
import pytest
from report_samples import history

from segflow.reporting.cases import Measure
from segflow.reporting.data import History
from segflow.reporting.figures import (
    HEIGHT,
    WIDTH,
    _block_means,
    class_colour,
    common_scale,
    draw_curves,
    draw_histogram,
    lay_out_plot,
)


def test_colours_repeat_after_seven():
    assert len({class_colour(i) for i in range(7)}) == 7
    assert class_colour(7) == class_colour(0)


@pytest.mark.parametrize("epochs", [0, 1, 1000])
def test_curves_are_small_svg_in_the_colours_of_the_page(epochs):
    curves = draw_curves([history(fold, epochs) for fold in range(6)])
    assert list(curves) == ["3d_fullres"]
    assert "fold 5" in curves["3d_fullres"][0]
    for svg in curves["3d_fullres"]:
        ET.fromstring(svg)  # noqa: S314 - our own text
        assert svg.startswith("<svg")
        assert "var(--ink)" in svg
        assert "#0" not in svg.replace("#000000", "")
        assert ' id="figure_1"' not in svg
        assert len(svg) < 100_000


@pytest.mark.parametrize("is_size", [True, False])
def test_a_histogram_of_sizes_that_differ_a_hundredfold_has_powers_of_ten(is_size):
    values = {str(i): float(value) for i, value in enumerate(np.geomspace(0.05, 5000, 50))}
    svg = draw_histogram(Measure("lesion, annotated", "ml", values, is_size))
    texts = {element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")}  # noqa: S314
    assert {"ml", "cases"} <= texts
    assert ({"0.1", "1", "10", "100", "1000"} <= texts) == is_size
    assert not [text for text in texts if "$" in text]


def test_blocks_are_averaged_without_gaps():
    np.testing.assert_array_equal(_block_means([1, 3, nan, 5, nan, nan, 7], 2), [2, 5, nan, 7])


def test_columns_from_rows():
    rows = [
        {"epoch": "0", "train_loss": "-0.5", "mean_pseudo_dice": 0.25, "ema_pseudo_dice": None, "more": "3"},
        {"epoch": "1", "train_loss": "-0.6", "mean_pseudo_dice": "", "ema_pseudo_dice": 0.5},
    ]
    found = History.from_rows("2d", 4, rows)
    assert (found.configuration, found.fold) == ("2d", 4)
    columns = (
        found.epochs,
        found.train_loss,
        found.validation_loss,
        found.pseudo_dice,
        found.ema_pseudo_dice,
    )
    np.testing.assert_array_equal(columns, [(0, 1), (-0.5, -0.6), (nan, nan), (0.25, nan), (nan, 0.5)])


@pytest.mark.parametrize(
    ("dice", "ticks"),
    [
        ([0.93, nan], (0.92, 0.94, 0.96, 0.98, 1)),
        ([0.6], (0.6, 0.7, 0.8, 0.9, 1)),
        ([0.0, 0.9], (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([1.0], (0.98, 1)),
        ([], (0, 0.2, 0.4, 0.6, 0.8, 1)),
    ],
)
def test_scale(dice, ticks):
    assert common_scale(dice).ticks == ticks


@pytest.mark.parametrize("others", [2, 500])
def test_points_lie_inside_the_plot_and_extremes_are_shown(others):
    cases = [("low", 0.1), ("absent", nan), *((f"c{i}", 0.9) for i in range(others)), ("high", 1.0)]
    plot = lay_out_plot(cases, common_scale([0.1]))
    assert len(plot.points) == min(others + 2, 200)
    assert {"low: 0.100", "high: 1.000"} <= {text for _, _, text in plot.points}
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y, _ in plot.points)
    assert plot.quartiles == tuple(sorted(plot.quartiles))


def test_a_plot_without_values_is_empty():
    empty = lay_out_plot([("a", nan)], common_scale([]))
    assert empty.points == empty.quartiles == ()
