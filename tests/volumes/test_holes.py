"""Filling holes, against scipy's slower way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segflow.volumes.crop import fill_holes


@given(
    st.tuples(*[st.integers(1, 12)] * 3),
    st.integers(0, 999),
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]),
)
def test_like_scipy(shape, seed, density):
    mask = np.random.default_rng(seed).random(shape) < density
    mask.setflags(write=False)
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


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
def test_a_winding_way_in(axis):
    walls = spiral(41)
    volume = np.ones((5, 41, 41), bool)
    volume[2] = walls
    turned = np.moveaxis(volume, 0, axis)
    np.testing.assert_array_equal(fill_holes(turned), ndimage.binary_fill_holes(turned))
    assert not fill_holes(turned).all()


def test_a_box_open_at_one_side_of_each_axis():
    for axis in range(3):
        box = np.zeros((9, 9, 9), bool)
        box[1:8, 1:8, 1:8] = True
        box[2:7, 2:7, 2:7] = False
        assert fill_holes(box).sum() == 7**3
        opened = box.copy()
        np.moveaxis(opened, axis, 0)[7, 4, 4] = False
        np.testing.assert_array_equal(fill_holes(opened), opened)
