"""Slices and their pictures."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from report_samples import LABELS

from segflow.contracts.case import Geometry
from segflow.reporting.overlay import (
    THUMBNAIL,
    View,
    cut_slice,
    draw_overlay,
    draw_slices,
    draw_thumbnail,
    view_of,
)


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
RAS = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
SAGITTAL_FIRST = (
    0,
    0,
    1,
    1,
    0,
    0,
    0,
    -1,
    0,
)  # the file's x goes to the back, its y to the feet, its z to the left


def viewed(reference_at=(), prediction_at=(), *, spacing_mm=(1, 1, 1), direction=None, **of_case):
    image, prediction, reference = case(reference_at, prediction_at, **of_case)
    geometry = Geometry(
        shape=reference.shape,
        spacing_mm=spacing_mm,
        file_dimensions=3,
        file_spacing_mm=spacing_mm[::-1],
        origin_mm=(0, 0, 0),
        direction=direction or (1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
    return view_of(image, prediction, reference, geometry, has_orientation=direction is not None)


@pytest.mark.parametrize(
    ("reference_at", "prediction_at", "spacing_mm", "place", "note", "aspect"),
    [
        ([(1, 2), (3, 0, 0)], [(0,)], (3, 1, 0.5), (1,), "slice 2 of 4", 2),
        ([(ALL, 4)], [], (1, 3, 1), (slice(None, None, -1), 4), "slice 5 of 6", 1),
        ([], [(3, 1)], (1, 1, 1), (3,), "slice 4 of 4", 1),
        ([], [(3, 1)], (1, 1.0000002, 1), (3,), "slice 4 of 4", 1.0000002),
        ([], [], (1, 1, 1), (2,), "slice 3 of 4", 1),
    ],
    ids=["most reference", "another axis, upright", "most prediction", "about equal", "the middle"],
)
def test_the_slice_that_is_shown(reference_at, prediction_at, spacing_mm, place, note, aspect):
    view = viewed(reference_at, prediction_at, spacing_mm=spacing_mm)
    pair = cut_slice(view, LABELS)
    image, prediction, reference = case(reference_at, prediction_at)
    for found, whole in ((pair.image, image[0]), (pair.prediction, prediction), (pair.reference, reference)):
        np.testing.assert_array_equal(found, whole[place])
    assert (pair.note, pair.pixel_aspect) == (note, aspect)


@pytest.mark.parametrize(
    ("direction", "turned", "spacing_mm"),
    [
        (RAS, lambda a: a[:, ::-1, ::-1], (1, 2, 4)),
        (SAGITTAL_FIRST, lambda a: a.transpose(1, 2, 0)[::-1], (2, 4, 1)),
        ((0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1), lambda a: a, (1, 2, 4)),
    ],
    ids=["nibabel's orientation", "sagittal slices", "oblique"],
)
def test_the_body_is_shown_in_one_orientation(direction, turned, spacing_mm):
    view = viewed([(1, 2)], [(0,)], spacing_mm=(1, 2, 4), direction=direction)
    image, prediction, reference = case([(1, 2)], [(0,)])
    np.testing.assert_array_equal(view.image[0], turned(image[0]))
    np.testing.assert_array_equal(view.prediction, turned(prediction))
    np.testing.assert_array_equal(view.reference, turned(reference))
    assert view.spacing_mm == spacing_mm
    names = [cut_slice(view, LABELS, axis=axis).note.split()[0] for axis in range(3)]
    assert names == ["axial", "coronal", "sagittal"]


def test_the_slice_of_a_class():
    """Its own largest cross-section, though another class has more voxels elsewhere."""
    view = viewed([(0,)])
    view.reference.setflags(write=True)
    view.reference[3, 1, 1:3] = 2
    assert cut_slice(view, LABELS, axis=0).note == "slice 1 of 4"
    assert cut_slice(view, LABELS, axis=0, target=2).note == "slice 4 of 4"
    assert cut_slice(view, LABELS, axis=1, target=2).note == "slice 2 of 6"


def test_a_flat_colour_image():
    view = viewed([(0, 1)], channels=3, shape=(1, 6, 5), spacing_mm=(999, 1, 1))
    pair = cut_slice(view, LABELS)
    assert pair.image.shape == (6, 5, 3)
    assert pair.note == ""
    draw_overlay(pair, LABELS)


def test_contours_of_large_noise_are_traced_at_the_picture_s_resolution(monkeypatch):
    sizes = []
    contour = Axes.contour
    monkeypatch.setattr(
        Axes, "contour", lambda self, *a, **k: sizes.append(a[2].shape) or contour(self, *a, **k)
    )
    noise = np.random.default_rng(1).integers(0, 3, (1, 1300, 1500))
    draw_overlay(cut_slice(View(noise[None].astype(np.float32), noise, noise, (1, 1, 1)), LABELS), LABELS)
    assert set(sizes) == {(2 + 1300 // 3 + 1, 2 + 500)}


@pytest.mark.parametrize("reference_at", [[(1, 2)], [()], []])
@pytest.mark.parametrize("constant", [False, True])
def test_the_picture_is_a_small_png_and_always_the_same(reference_at, constant):
    view = viewed(reference_at, [(1, slice(2, 4))])
    view = replace(view, image=np.full_like(view.image, 7)) if constant else view
    pair = cut_slice(view, LABELS)
    png = draw_overlay(pair, LABELS)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert picture.height == 2 * picture.width
    assert png == draw_overlay(pair, LABELS)
    assert png != draw_overlay(
        pair, LABELS, caption="\u60a3\u8005 $x$"
    )  # that the font lacks; and no formula
    assert len(png) < 200_000


@pytest.mark.parametrize(("shape", "channels"), [((4, 6, 5), 1), ((1, 3000, 1500), 1), ((1, 1, 1), 1)])
@pytest.mark.parametrize("panels", [2, 3])
def test_a_thumbnail_has_always_the_same_size(shape, channels, panels):
    """Image, reference and prediction, the last two in colour where there are classes."""
    view = viewed([(0,)], [(0,)], shape=shape, channels=channels)
    jpeg = draw_thumbnail(cut_slice(view, LABELS), LABELS, is_predicted=panels == 3)
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (panels * THUMBNAIL, THUMBNAIL))
        middles = [picture.getpixel((THUMBNAIL * i + THUMBNAIL // 2, THUMBNAIL // 2)) for i in range(panels)]
    is_coloured = [max(middle) - min(middle) > 60 for middle in middles]
    assert is_coloured == [False, *[True] * (panels - 1)]


def test_slices_to_scroll_through():
    """From the first to the last with foreground, 24 at most, each as in a thumbnail."""
    view = viewed([(slice(10, 13), 1)], [(slice(11, 15), 2)], shape=(20, 6, 6))
    jpeg, n = draw_slices(view, LABELS)
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert (n, picture.size) == (5, (3 * 192, 5 * 192))
        columns = [
            [picture.getpixel((192 * i + 96, 192 * k + 48 + 32 * (i - 1))) for k in range(5)] for i in (1, 2)
        ]
    is_coloured = [[max(pixel) - min(pixel) > 60 for pixel in column] for column in columns]
    assert is_coloured == [[True] * 3 + [False] * 2, [False] + [True] * 4]
    assert draw_slices(viewed([()], shape=(50, 6, 6)), LABELS)[1] == 24
    assert draw_slices(viewed(shape=(3, 6, 6)), LABELS)[1] == 3


def test_a_gallery_of_300_cases_has_at_most_20_megabytes():
    """15 of them are shown large, along three axes for two classes each, and three with slices to scroll through; noise
    is what compresses worst."""
    noise = np.random.default_rng(0).normal(size=(1, 1, 500, 500)).astype(np.float32)
    organ = np.pad(np.ones((1, 350, 350), np.int16), ((0, 0), (75, 75), (75, 75)))
    pair = cut_slice(View(noise, organ, organ, (1, 1, 1)), LABELS)
    small, large = draw_thumbnail(pair, LABELS), draw_overlay(pair, LABELS, dpi=110, kind="jpg")
    volume = View(np.repeat(noise, 24, axis=1), *[np.repeat(organ, 24, axis=0)] * 2, (1, 1, 1))
    slices, n = draw_slices(volume, LABELS)
    assert n == 24
    assert 300 * len(small) + 15 * 3 * 2 * len(large) + 3 * len(slices) < 20e6
