"""Connected components on maps small enough to draw."""

from __future__ import annotations

import numpy as np
import pytest

from segflow.volumes.components import keep_largest


def frozen(values, dtype=np.uint8):
    array = np.array(values, dtype=dtype)
    array = array.reshape((1,) * (3 - array.ndim) + array.shape)
    array.setflags(write=False)
    return array


def test_smaller_components_go():
    label_map = frozen([[1, 1, 0, 1, 0, 2]])
    np.testing.assert_array_equal(keep_largest(label_map, (1,)), frozen([[1, 1, 0, 0, 0, 2]]))


def test_ties_stay():
    label_map = frozen([[1, 1, 0, 1, 1, 0, 1]])
    np.testing.assert_array_equal(keep_largest(label_map, (1,)), frozen([[1, 1, 0, 1, 1, 0, 0]]))


def test_labels_are_taken_together():
    label_map = frozen([[1, 2, 2, 0, 1, 1, 0, 3]])
    np.testing.assert_array_equal(keep_largest(label_map, (1, 2)), frozen([[1, 2, 2, 0, 0, 0, 0, 3]]))
    np.testing.assert_array_equal(keep_largest(label_map, (1,)), frozen([[0, 2, 2, 0, 1, 1, 0, 3]]))


def test_corners_connect():
    mask = np.zeros((3, 3, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    label_map = frozen(mask)
    np.testing.assert_array_equal(keep_largest(label_map, (1,)), label_map)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_type_stays(dtype):
    assert keep_largest(frozen([[1, 0, 1, 1]], dtype), (1,)).dtype == dtype


@pytest.mark.parametrize("labels", [(), (5,)])
def test_nothing_to_keep(labels):
    label_map = frozen([[[0, 1], [1, 0]]])
    np.testing.assert_array_equal(keep_largest(label_map, labels), label_map)


def test_empty_mask():
    assert not keep_largest(np.zeros((2, 3, 4), dtype=np.uint8), (1,)).any()
