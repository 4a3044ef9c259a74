"""Slices and their pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from report_samples import LABELS

from segflow.reporting.overlay import cut_slice, draw_overlay


def case(reference_at=(), prediction_at=(), channels=1, shape=(4, 6, 5)):
    """Image, prediction and reference, read-only; the label maps are 1 at some places."""
    arrays = [np.arange(channels * np.prod(shape), dtype=np.float32).reshape(channels, *shape)]
    for places in (prediction_at, reference_at):
        arrays.append(np.zeros(shape, dtype=np.uint8))
        for place in places:
            arrays[-1][place] = 1
    for array in arrays:
        array.setflags(write=False)
    return arrays


ALL = slice(None)


@pytest.mark.parametrize(
    ("reference_at", "prediction_at", "spacing_mm", "place", "note", "aspect"),
    [
        ([(1, 2), (3, 0, 0)], [(0,)], (3, 1, 0.5), (1,), "axial slice 2 of 4", 2),
        ([(ALL, 4)], [], (1, 3, 1), (slice(None, None, -1), 4), "coronal slice 5 of 6", 1),
        ([], [(3, 1)], (1, 1, 1), (3,), "axial slice 4 of 4", 1),
        ([], [], (1, 1, 1), (2,), "axial slice 3 of 4", 1),
    ],
    ids=["most reference", "another axis, upright", "most prediction", "the middle"],
)
def test_the_slice_that_is_shown(reference_at, prediction_at, spacing_mm, place, note, aspect):
    image, prediction, reference = case(reference_at, prediction_at)
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=spacing_mm)
    for found, whole in ((pair.image, image[0]), (pair.prediction, prediction), (pair.reference, reference)):
        np.testing.assert_array_equal(found, whole[place])
    assert (pair.note, pair.pixel_aspect) == (note, aspect)


def test_colour_image():
    arrays = case([(0, 1)], channels=3, shape=(1, 6, 5))
    pair = cut_slice(*arrays, LABELS, spacing_mm=(999, 1, 1))
    assert pair.image.shape == (6, 5, 3)
    assert pair.note == ""
    draw_overlay(pair, LABELS)


@pytest.mark.parametrize("reference_at", [[(1, 2)], [()], []])
@pytest.mark.parametrize("constant", [False, True])
def test_the_picture_is_a_small_png_and_always_the_same(reference_at, constant):
    image, prediction, reference = case(reference_at, [(1, slice(2, 4))])
    image = np.full_like(image, 7) if constant else image
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=(1, 1, 1))
    png = draw_overlay(pair, LABELS)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert picture.height == 2 * picture.width
    assert png == draw_overlay(pair, LABELS)
    assert png != draw_overlay(
        pair, LABELS, caption="\u60a3\u8005 $x$"
    )  # that the font lacks; and no formula
    assert len(png) < 200_000
