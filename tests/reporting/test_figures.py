"""Training curves, plots of scores over cases, colours of targets."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from math import nan

import numpy as np
import pytest
from report_samples import history

from segflow.reporting.cases import Measure
from segflow.reporting.figures import (
    class_colour,
    class_colours,
    draw_curves,
    draw_histogram,
    draw_strips,
    on_page,
)


def test_colours_repeat_after_seven():
    assert len({class_colour(i) for i in range(7)}) == 7
    assert class_colour(7) == class_colour(0)


@pytest.mark.parametrize("epochs", [0, 1, 1000])
def test_curves_are_small_and_in_the_colours_of_the_page(epochs):
    curves = draw_curves([history(fold, epochs) for fold in range(6)])
    assert list(curves) == ["3d_fullres_loss", "3d_fullres_dice"]
    assert "fold 5" in curves["3d_fullres_loss"]
    assert "fold all" in draw_curves([history("all", epochs)])["3d_fullres_loss"]
    for svg in map(on_page, curves.values()):
        ET.fromstring(svg)  # noqa: S314 - our own text
        assert svg.startswith("<svg")
        assert "var(--ink)" in svg
        assert not re.search("#(?!000000|ffffff)[0-9a-f]{6}", svg)
        assert ' id="figure_1"' not in svg
        assert len(svg) < 100_000


def test_no_class_has_a_colour_that_the_page_exchanges():
    strips = {str(i): [("case", 0.5)] for i in range(7)}
    svg = on_page(draw_strips(strips, "Dice", class_colours(strips)))
    assert all(class_colour(i).lower() in svg for i in range(7))


@pytest.mark.parametrize("is_size", [True, False])
def test_a_histogram_of_sizes_that_differ_a_hundredfold_has_powers_of_ten(is_size):
    values = {str(i): float(value) for i, value in enumerate(np.geomspace(0.05, 5000, 50))}
    svg = draw_histogram(Measure("lesion, annotated", "ml", values, is_size))
    texts = {element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")}  # noqa: S314
    assert {"ml", "cases"} <= texts
    assert ({"0.1", "1", "10", "100", "1000"} <= texts) == is_size
    assert not [text for text in texts if "$" in text]


@pytest.mark.parametrize("others", [2, 500])
def test_dots_say_their_case_and_extremes_are_shown(others):
    cases = [("low", 0.1), ("absent", nan), *((f"c{i}", 0.9) for i in range(others)), ("a <b>", 1.0)]
    strips = {"organ": cases, "empty": [("a", nan)]}
    svg = ET.fromstring(draw_strips(strips, "Dice", class_colours(strips)))  # noqa: S314 - our own text
    said = [element.text for element in svg.iter() if element.tag.endswith("title")]
    assert len(said) == min(others + 2, 200)
    assert {"low: 0.100", "a <b>: 1.000"} <= set(said)
    texts = {element.text for element in svg.iter() if element.tag.endswith("text")}
    assert {"organ", "empty", "Dice"} <= texts
