"""Order of axes, the crop to non-zero and back, and filling holes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segflow.volumes.crop import (
    bounding_box,
    bounding_slices,
    crop,
    crop_mask,
    fill_holes,
    mark_outside,
    nonzero_voxels,
    reorder,
    transpose_spatial,
    uncrop_probabilities,
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_shape_follows_the_order_of_axes(order):
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    turned = transpose_spatial(array, order)
    assert turned.shape == (2, *reorder((3, 4, 5), order))
    np.testing.assert_array_equal(transpose_spatial(turned, np.argsort(order)), array)
    np.testing.assert_array_equal(transpose_spatial(array[0], order), turned[0])


def test_order_of_axes_by_hand():
    assert reorder(("z", "y", "x"), (2, 0, 1)) == ("x", "z", "y")
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert transpose_spatial(array, (2, 0, 1))[3, 1, 2] == array[1, 2, 3]


@st.composite
def masks(draw):
    shape = draw(st.tuples(*[st.integers(1, 10)] * 3))
    seed, density = draw(st.integers(0, 999)), draw(st.sampled_from([0.0, 0.02, 0.3, 0.5, 0.7, 0.9, 1.0]))
    mask = np.random.default_rng(seed).random(shape) < density
    mask.setflags(write=False)
    return mask


@given(masks())
def test_the_box_is_tight(mask):
    box, places = bounding_box(mask), np.argwhere(mask)
    assert mask[bounding_slices(mask)].sum() == len(places)
    if len(places):
        assert box == tuple(zip(places.min(axis=0), places.max(axis=0) + 1, strict=True))
    else:
        assert box == tuple((0, edge) for edge in mask.shape)
        assert mask[bounding_slices(mask)].size == 0


@given(masks(), st.permutations(range(3)), st.booleans())
def test_probabilities_come_back_where_they_were(mask, order, has_regions):
    box = bounding_box(mask)
    scores = np.random.default_rng(0).random((2, *crop(mask, box).shape)).astype(np.float32)
    whole = uncrop_probabilities(scores, box, mask.shape, order, has_regions=has_regions)
    assert whole.dtype == np.float32
    back = transpose_spatial(whole, np.argsort(order)).copy()
    np.testing.assert_array_equal(crop(back, box), scores)
    crop(back, box)[...] = 0
    assert [plane.sum() for plane in back] == [0 if has_regions else mask.size - scores[0].size, 0]


@given(masks())
def test_holes_are_filled_like_scipy(mask):
    expected = ndimage.binary_fill_holes(mask)
    np.testing.assert_array_equal(fill_holes(mask), expected)
    box, inside = crop_mask(mask)
    np.testing.assert_array_equal(inside, crop(expected, box))
    assert inside.sum() == expected.sum()


def spiral(size):
    """Walls with one winding way in, so that no straight line gets far."""
    walls = np.ones((size, size), bool)
    y, x, dy, dx, length = 1, 0, 0, 1, size - 1
    walls[y, x] = False
    while length > 2:
        for _ in range(2):
            for _ in range(length):
                if not (0 <= y + dy < size and 0 <= x + dx < size - 1):
                    break
                y, x = y + dy, x + dx
                walls[y, x] = False
            dy, dx = dx, -dy
            length -= 2
    return walls


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_holes_with_a_winding_way_in(axis):
    volume = np.ones((5, 41, 41), bool)
    volume[2] = spiral(41)
    turned = np.moveaxis(volume, 0, axis)
    np.testing.assert_array_equal(fill_holes(turned), ndimage.binary_fill_holes(turned))
    assert not fill_holes(turned).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_leak_keeps_a_hole_open(axis):
    box = np.zeros((9, 9, 9), bool)
    box[1:8, 1:8, 1:8] = True
    box[2:7, 2:7, 2:7] = False
    assert fill_holes(box).sum() == 7**3
    np.moveaxis(box, axis, 0)[7, 4, 4] = False
    np.testing.assert_array_equal(fill_holes(box), box)


def test_any_channel_counts(frozen):
    image = np.zeros((2, 1, 2, 2), np.float32)
    image[0, 0, 0, 0], image[1, 0, 1, 1] = 1, -5
    np.testing.assert_array_equal(nonzero_voxels(frozen(image)), [[[True, False], [False, True]]])


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_background_outside_the_mask_is_marked(dtype):
    labels = np.array([[[0, 0, 2, 2]]], dtype)
    mark_outside(labels, np.array([[[False, True, False, True]]]))
    np.testing.assert_array_equal(labels, [[[-1, 0, 2, 2]]])
