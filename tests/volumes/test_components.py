"""Connected components on maps small enough to draw; volumes and holes are in tests/selection."""

from __future__ import annotations

import numpy as np
import pytest

from segflow.volumes.components import count_components, keep_largest


@pytest.mark.parametrize(
    ("before", "labels", "after"),
    [
        ("110102", (1,), "110002"),
        ("1101101", (1,), "1101100"),  # of equal size
        ("12201103", (1, 2), "12200003"),  # taken together
        ("12201103", (1,), "02201103"),
        ("0110", (), "0110"),
        ("0110", (5,), "0110"),
        ("000", (1,), "000"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_smaller_components_become_background(before, labels, after, dtype, frozen):
    before, after = (np.array([[list(text)]], dtype) for text in (before, after))
    found = keep_largest(frozen(before), labels)
    np.testing.assert_array_equal(found, after)
    assert found.dtype == dtype


@pytest.mark.parametrize(
    ("row", "labels", "count"),
    [("110102", (1,), 2), ("12201103", (1, 2), 2), ("12201103", (3,), 1), ("0110", (5,), 0), ("0110", (), 0)],
)
def test_number_of_components(row, labels, count, frozen):
    assert count_components(frozen(np.array([[list(row)]], np.uint8)), labels) == count


def test_corners_connect(frozen):
    label_map = np.zeros((3, 3, 4), np.uint8)
    label_map[range(3), range(3), range(3)] = 1
    assert count_components(frozen(label_map), (1,)) == 1
    np.testing.assert_array_equal(keep_largest(frozen(label_map), (1,)), label_map)
