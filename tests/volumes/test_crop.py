"""Cropping to non-zero, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segflow.volumes.crop import bounding_box, crop, crop_mask, mark_outside, nonzero_voxels, uncrop


@st.composite
def masks(draw):
    shape = draw(st.tuples(*[st.integers(1, 8)] * 3))
    seed, density = draw(st.integers(0, 999)), draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    mask = np.random.default_rng(seed).random(shape) < density
    mask.setflags(write=False)
    return mask


@given(masks())
def test_box_is_tight(mask):
    box = bounding_box(mask)
    if not mask.any():
        assert box == tuple((0, edge) for edge in mask.shape)
        return
    positions = np.argwhere(mask)
    assert box == tuple(zip(positions.min(axis=0), positions.max(axis=0) + 1, strict=True))
    assert crop(mask, box).sum() == mask.sum()


@given(masks(), st.integers(-3, 3))
def test_uncrop_undoes_crop(mask, fill):
    box = bounding_box(mask)
    image = np.where(mask, np.arange(mask.size).reshape(mask.shape), fill)[None]
    image.setflags(write=False)
    inside = crop(image, box)
    whole = uncrop(inside, box, mask.shape, fill)
    np.testing.assert_array_equal(whole, image)
    assert whole.dtype == image.dtype
    np.testing.assert_array_equal(crop(whole, box), inside)


def whole_filled(mask):
    """The mask with its holes filled, on the whole extent."""
    box, inside = crop_mask(mask)
    return uncrop(inside, box, mask.shape, False)


@given(masks())
def test_filling_inside_the_box_is_filling(mask):
    np.testing.assert_array_equal(whole_filled(mask), ndimage.binary_fill_holes(mask))


def test_holes_are_filled(frozen):
    image = np.zeros((2, 7, 7, 7), np.float32)
    image[1, 1:6, 1:6, 1:6] = -5
    image[1, 2:5, 2:5, 2:5] = 0
    box, inside = crop_mask(nonzero_voxels(frozen(image)))
    assert box == ((1, 6),) * 3
    assert inside.shape == (5, 5, 5)
    assert inside.all()


def test_a_leak_keeps_a_hole_open(frozen):
    image = np.zeros((1, 7, 7, 7), np.float32)
    image[0, 1:6, 1:6, 1:6] = 1
    image[0, 2:5, 2:5, 2:6] = 0  # open to one side
    assert whole_filled(nonzero_voxels(frozen(image))).sum() == 5**3 - 3 * 3 * 4


def test_a_hole_is_closed_by_faces_alone(frozen):
    image = np.zeros((1, 3, 3, 3), np.float32)
    for voxel in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)):
        image[(0, *voxel)] = 1
    assert whole_filled(nonzero_voxels(frozen(image)))[1, 1, 1]


def test_any_channel_counts(frozen):
    image = np.zeros((2, 1, 2, 2), np.float32)
    image[0, 0, 0, 0] = image[1, 0, 1, 1] = 1
    np.testing.assert_array_equal(nonzero_voxels(frozen(image)), [[[True, False], [False, True]]])


def test_an_empty_mask_keeps_its_extent():
    box, inside = crop_mask(np.zeros((2, 3, 4), bool))
    assert box == ((0, 2), (0, 3), (0, 4))
    assert not inside.any()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_outside(dtype):
    labels = np.array([[[0, 0, 2, 2]]], dtype)
    mark_outside(labels, np.array([[[False, True, False, True]]]))
    np.testing.assert_array_equal(labels, [[[-1, 0, 2, 2]]])
