"""Cropping to non-zero, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.volumes.crop import bounding_box, crop, mark_outside, nonzero_mask, uncrop


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


def test_holes_are_filled(frozen):
    image = np.zeros((2, 7, 7, 7), np.float32)
    image[1, 1:6, 1:6, 1:6] = -5
    image[1, 2:5, 2:5, 2:5] = 0
    mask = nonzero_mask(frozen(image))
    assert mask.sum() == 5**3
    assert mask[3, 3, 3]
    assert not mask[0].any()


def test_a_leak_keeps_a_hole_open(frozen):
    image = np.zeros((1, 7, 7, 7), np.float32)
    image[0, 1:6, 1:6, 1:6] = 1
    image[0, 2:5, 2:5, 2:6] = 0  # open to one side
    assert nonzero_mask(frozen(image)).sum() == 5**3 - 3 * 3 * 4


def test_a_hole_is_closed_by_faces_alone(frozen):
    image = np.zeros((1, 3, 3, 3), np.float32)
    for voxel in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)):
        image[(0, *voxel)] = 1
    assert nonzero_mask(frozen(image))[1, 1, 1]


def test_any_channel_counts(frozen):
    image = np.zeros((2, 1, 2, 2), np.float32)
    image[0, 0, 0, 0] = image[1, 0, 1, 1] = 1
    np.testing.assert_array_equal(nonzero_mask(frozen(image)), [[[True, False], [False, True]]])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_outside(dtype, frozen):
    labels = frozen(np.array([[[0, 0, 2, 2]]], dtype))
    mask = frozen(np.array([[[False, True, False, True]]]))
    marked = mark_outside(labels, mask)
    np.testing.assert_array_equal(marked, [[[-1, 0, 2, 2]]])
    assert marked.dtype == dtype
