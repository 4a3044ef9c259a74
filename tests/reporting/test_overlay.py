"""Slices and their pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from report_samples import LABELS

from segflow.reporting.overlay import cut_slice, draw_overlay

SHAPE = (4, 6, 5)


def case(reference_at=(), prediction_at=(), channels=1, shape=SHAPE):
    """Image, prediction and reference, read-only; the label maps are 1 at some places."""
    arrays = [np.arange(channels * np.prod(shape), dtype=np.float32).reshape(channels, *shape)]
    for places in (prediction_at, reference_at):
        arrays.append(np.zeros(shape, dtype=np.uint8))
        for place in places:
            arrays[-1][place] = 1
    for array in arrays:
        array.setflags(write=False)
    return arrays


def test_slice_with_most_reference():
    image, prediction, reference = case([(1, 2), (3, 0, 0)], [(0,)])
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=(3, 1, 0.5))
    np.testing.assert_array_equal(pair.image, image[0, 1])
    np.testing.assert_array_equal(pair.reference, reference[1])
    assert pair.note == "axial slice 2 of 4"
    assert pair.pixel_aspect == 2


def test_other_axes_stand_upright():
    image, prediction, reference = case([(slice(None), 4)])
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=(1, 3, 1))
    np.testing.assert_array_equal(pair.image, image[0, ::-1, 4])
    assert pair.note == "coronal slice 5 of 6"


@pytest.mark.parametrize(("prediction_at", "index"), [([(3, 1)], 3), ([], 2)])
def test_without_reference(prediction_at, index):
    image, prediction, reference = case([], prediction_at)
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=(1, 1, 1))
    np.testing.assert_array_equal(pair.image, image[0, index])


def test_colour_image():
    image, prediction, reference = case([(0, 1)], channels=3, shape=(1, 6, 5))
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=(999, 1, 1))
    assert pair.image.shape == (6, 5, 3)
    assert pair.note == ""
    draw_overlay(pair, LABELS)


@pytest.mark.parametrize("reference_at", [[(1, 2)], [()], []])
def test_picture(reference_at):
    image, prediction, reference = case(reference_at, [(1, slice(2, 4))])
    pair = cut_slice(image, prediction, reference, LABELS, spacing_mm=(1, 1, 1))
    png = draw_overlay(pair, LABELS)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert picture.height == 2 * picture.width
    assert png == draw_overlay(pair, LABELS)
    assert len(png) < 200_000


def test_constant_image():
    image = np.full((1, *SHAPE), 7, dtype=np.float32)
    _, prediction, reference = case([(1, 2)])
    assert draw_overlay(cut_slice(image, prediction, reference, LABELS, spacing_mm=(1, 1, 1)), LABELS)
