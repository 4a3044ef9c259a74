"""Reordering of axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segflow.volumes.crop import reorder, transpose_spatial


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_shape_follows_the_order(order):
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    turned = transpose_spatial(array, order)
    assert turned.shape == (2, *reorder((3, 4, 5), order))
    inverse = np.argsort(order)
    np.testing.assert_array_equal(transpose_spatial(turned, inverse), array)
    np.testing.assert_array_equal(transpose_spatial(array[0], order), turned[0])


def test_by_hand():
    assert reorder(("z", "y", "x"), (2, 0, 1)) == ("x", "z", "y")
    array = np.zeros((2, 3, 4))
    array[1, 2, 3] = 1
    assert transpose_spatial(array, (2, 0, 1))[3, 1, 2] == 1
