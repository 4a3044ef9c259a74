"""Training curves."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from report_samples import history

from segflow.reporting.data import History
from segflow.reporting.figures import _block_means, draw_curves


@pytest.mark.parametrize("epochs", [0, 1, 3, 1000])
def test_svg_for_a_page(epochs):
    svg = draw_curves([history(fold, epochs) for fold in range(6)])
    ET.fromstring(svg)  # noqa: S314 - our own text
    assert svg.startswith("<svg")
    assert "var(--ink)" in svg
    assert "#0" not in svg.replace("#000000", "")
    assert "fold 5" in svg
    assert ' id="figure_1"' not in svg


def test_small_enough():
    noise = np.random.default_rng(0).normal(size=(5, 1000))
    columns = [tuple(row) for row in noise]
    runs = [History("2d", fold, tuple(range(1000)), *columns[:4]) for fold in range(5)]
    assert len(draw_curves(runs)) < 200_000


def test_blocks_are_averaged_without_gaps():
    means = _block_means([1, 3, np.nan, 5, np.nan, np.nan, 7], 2)
    np.testing.assert_array_equal(means, [2, 5, np.nan, 7])
