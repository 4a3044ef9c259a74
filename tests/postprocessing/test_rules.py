"""Applying operations."""

from __future__ import annotations

import numpy as np

from segflow.contracts.scores import Operation
from segflow.postprocessing import apply

LABEL_MAP = np.array([[[1, 2, 2, 0, 1, 1, 0, 2]]], dtype=np.uint8)
LABEL_MAP.setflags(write=False)


def keep(*labels):
    return Operation(name="keep_largest", labels=labels)


def test_none():
    np.testing.assert_array_equal(apply([], LABEL_MAP), LABEL_MAP)


def test_in_order():
    np.testing.assert_array_equal(apply([keep(1), keep(1, 2)], LABEL_MAP), [[[0, 2, 2, 0, 1, 1, 0, 0]]])
    np.testing.assert_array_equal(apply([keep(1, 2), keep(1)], LABEL_MAP), [[[1, 2, 2, 0, 0, 0, 0, 0]]])
    assert apply([keep(1)], LABEL_MAP).dtype == np.uint8
