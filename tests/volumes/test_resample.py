"""Resampling against scikit-image's resize, slice by slice where an axis is treated apart."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from segflow.volumes.resample import (
    ScoreGrid,
    resample_image,
    resample_labels,
    resample_labels_nearest,
    resampled_shape,
    separate_axis,
)

EDGES = st.tuples(*[st.integers(1, 12)] * 3)


def resampled(image, shape, axis):
    """All channels of an image."""
    out = np.empty((len(image), *shape), np.float32)
    for channel, target in zip(image, out, strict=True):
        resample_image(channel, target, axis)
    return out


def oracle_resize(array, shape, order):
    """What the method calls resize(order)."""
    values = np.asarray(array, np.float64)
    return resize(values, shape, order=order, mode="edge", clip=True, anti_aliasing=False)


def nearest(size, new_size):
    return np.clip(np.floor((np.arange(new_size) + 0.5) * (size / new_size)).astype(int), 0, size - 1)


def of_whole(array, shape, axis, function):
    """The whole array resized, or where an axis is treated apart each slice, of which the nearest are taken."""
    if axis is None:
        return function(array, shape)
    slices = np.moveaxis(array, axis, 0)
    plane = tuple(edge for a, edge in enumerate(shape) if a != axis)
    resized = np.stack([function(part, plane) for part in slices])
    return np.moveaxis(resized[nearest(len(slices), shape[axis])], 0, axis)


def oracle_labels(labels, shape):
    """Method section 8.4: the largest score, the first one on ties; the nearest voxel's label if it ties."""
    values = np.unique(labels)
    scores = np.stack([oracle_resize(labels == value, shape, 1) for value in values])
    best = scores.max(axis=0)
    winner = values[scores.argmax(axis=0)]
    close = labels[np.ix_(*(nearest(old, new) for old, new in zip(labels.shape, shape, strict=True)))]
    own = np.select([close == value for value in values], scores)
    return np.where(own == best, close, winner)


def resized(scores, new, axis):
    """Scores, four planes at a time."""
    grid = ScoreGrid(shape=scores.shape[1:], new_shape=new, axis=axis)
    parts = [[grid.resize(channel[band.old], band) for band in grid.bands(4)] for channel in scores]
    return np.stack([np.concatenate(planes) for planes in parts])


def check(image, labels, new, axis):
    """Images, scores and label maps, each beside the oracle."""
    for function, order in ((resampled, 3), (resized, 1)):
        found = function(image, new, axis)
        expected = [of_whole(channel, new, axis, partial(oracle_resize, order=order)) for channel in image]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.stack(expected), rtol=0, atol=1e-5 * np.abs(image).max())
    found = resample_labels(labels, new, axis)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, of_whole(labels, new, axis, oracle_labels))


@given(EDGES, EDGES, st.integers(0, 1000), st.sampled_from([None, 0, 1, 2]))
def test_small_volumes_of_any_shape(old, new, seed, axis):
    generator = np.random.default_rng(seed)
    image = generator.normal(10, 5, (2, *old)).astype(np.float32)
    labels = generator.integers(-1, 3, old).astype(np.int8)
    for array in (image, labels):
        array.setflags(write=False)
    check(image, labels, new, axis)


@pytest.mark.parametrize("new", [(70, 90, 40), (33, 45, 80), (66, 44, 121)])
@pytest.mark.parametrize("axis", [None, 1])
def test_volumes_of_more_than_one_band(new, axis):
    old, generator = (66, 45, 80), np.random.default_rng(3)
    image = generator.normal(size=(1, *old)).astype(np.float32)
    smooth = ndimage.gaussian_filter(generator.normal(size=old), 2)
    labels = np.digitize(smooth, np.quantile(smooth, (0.2, 0.4, 0.6, 0.8))).astype(np.int8) - 1
    check(image, labels, new, axis)


def test_overshoot_is_clipped_to_the_channel_or_the_slice():
    image = np.zeros((2, 2, 1, 8), np.float32)
    image[0, 0, 0, 4:], image[0, 1], image[1] = 1, 100, 100
    assert resampled(image, (2, 1, 21), 0)[0, 0].max() == 1
    found = resampled(image[:, :1], (1, 1, 21), None)
    assert (found[0].min(), found[0].max()) == (0, 1)
    np.testing.assert_allclose(found[1], 100, rtol=1e-6)


def test_a_tie_goes_to_the_nearest_voxel():
    line = np.array([[[1, 1, 2, 2]]], np.int8)  # four to one: the new centre lies between 1 and 2
    assert resample_labels(line, (1, 1, 1), None).item() == 2  # halfway rounds up
    rows = np.array([[[3, 0, 0], [2, 1, 1]]], np.int8)
    np.testing.assert_array_equal(resample_labels(rows, (1, 1, 3), None), [[[2, 1, 1]]])


def test_a_tie_without_the_nearest_goes_to_the_lowest():
    cube = np.array([2, 1, 2, 1, 2, 1, 6, 5], np.int8).reshape(2, 2, 2)  # 3/8 for 1 and for 2
    assert resample_labels(cube, (1, 1, 1), None).item() == 1


@pytest.mark.parametrize("axis", [None, 0])
def test_same_shape_changes_nothing(axis, frozen):
    image = frozen(np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32))
    labels = frozen(np.ones((3, 4, 5), np.int8))
    np.testing.assert_array_equal(resampled(image, (3, 4, 5), axis), image)
    np.testing.assert_array_equal(resized(image, (3, 4, 5), axis), image)
    assert resample_labels(labels, (3, 4, 5), axis) is labels


@given(EDGES, EDGES, st.integers(0, 1000))
def test_labels_of_the_nearest_voxels_are_scipy_s(old, new, seed):
    labels = np.random.default_rng(seed).integers(-1, 9, old).astype(np.int8)
    labels.setflags(write=False)
    found = resample_labels_nearest(labels, new)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, of_whole(labels, new, None, partial(oracle_resize, order=0)))


def test_the_nearest_voxel_is_scipy_s_where_rounding_decides():
    labels = np.arange(30, dtype=np.int8).reshape(30, 1, 1)
    expected = oracle_resize(labels, (11, 1, 1), 0)
    np.testing.assert_array_equal(resample_labels(labels, (11, 1, 1), 0), expected)


@pytest.mark.parametrize(
    ("old", "spacing_mm", "target_mm", "shape"),
    [
        ((10, 10, 10), (2, 1, 1), (1, 1, 1), (20, 10, 10)),
        ((10, 10, 10), (1, 1, 1), (2, 4, 3), (5, 2, 3)),
        ((10, 10, 10), (1, 0.5, 1), (1, 1, 4), (10, 5, 2)),
        ((5, 7, 9), (1, 1, 1), (2, 2, 2), (2, 4, 4)),  # half to even
        ((1, 9, 9), (1, 1, 1), (5, 1, 1), (1, 9, 9)),  # no axis vanishes
    ],
)
def test_resampled_shape(old, spacing_mm, target_mm, shape):
    assert resampled_shape(old, spacing_mm, target_mm) == shape


@pytest.mark.parametrize(
    ("spacing_mm", "target_mm", "axis"),
    [
        ((1, 1, 1), (1, 1, 1), None),
        ((3, 1, 1), (1, 1, 1), None),  # exactly 3 is not enough
        ((3.1, 1, 1), (1, 1, 1), 0),
        ((1, 1, 5), (1, 1, 1), 2),
        ((1, 1, 1), (1, 5, 1), 1),
        ((5, 5, 1), (1, 1, 1), None),  # shared by two axes
        ((5, 5, 1), (1, 1, 9), None),  # the current spacing decides, even if it says none
        ((5, 1, 1), (1, 1, 9), 0),
    ],
)
def test_separate_axis(spacing_mm, target_mm, axis):
    assert separate_axis(spacing_mm, target_mm) == axis
    assert separate_axis(spacing_mm, target_mm, allowed=False) is None
