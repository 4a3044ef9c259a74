"""Mean of probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.selection.average import average


def frozen(value, shape=(2, 1, 2, 2), dtype=np.float32):
    array = np.full(shape, value, dtype=dtype)
    array.setflags(write=False)
    return array


def test_mean():
    result = average(frozen(value) for value in (0.25, 0.5, 0.75))
    np.testing.assert_array_equal(result, frozen(0.5))
    assert result.dtype == np.float32


def test_single_is_a_copy():
    only = frozen(0.25)
    result = average([only])
    np.testing.assert_array_equal(result, only)
    assert result is not only


def test_half_precision_is_summed_in_single():
    result = average([frozen(0.25, dtype=np.float16), frozen(0.5, dtype=np.float16)])
    assert result.dtype == np.float32


def test_shapes_must_agree():
    with pytest.raises(PredictionError, match="differ in shape"):
        average([frozen(0), frozen(0, (3, 1, 2, 2))])


def test_nothing():
    with pytest.raises(PredictionError, match="no probabilities"):
        average([])
