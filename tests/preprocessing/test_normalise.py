"""Normalisation schemes by hand."""

from __future__ import annotations

import numpy as np
import pytest
from case_samples import INTENSITIES

from segflow.contracts.errors import DatasetError
from segflow.preprocessing.normalise import normalise


def one_channel(values, scheme, mask=None, properties=INTENSITIES):
    channel = np.array(values, np.float32).reshape(1, 1, -1)
    channel.setflags(write=False)
    used = None if mask is None else np.array(mask, bool).reshape(channel.shape)
    found = normalise(channel, scheme, mask=used, intensities=properties)
    assert found.dtype == np.float32
    assert found.shape == channel.shape
    return found.ravel()


ZEROS_INSIDE = (np.array([0, 0, 2, 2]) - 4 / 3) / np.std([0, 2, 2]) * [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("scheme", "values", "mask", "expected"),
    [
        ("zscore", [1, 3, 1, 3], None, [-1, 1, -1, 1]),
        ("zscore", [0, 1, 3, 0], [0, 1, 1, 0], [0, -1, 1, 0]),
        ("zscore", [0, 0, 2, 2], [0, 1, 1, 1], ZEROS_INSIDE),  # zeros in the mask count
        ("zscore", [5, 5, 5], None, [0, 0, 0]),
        ("zscore", [0, 0], [0, 0], [0, 0]),
        ("ct", [-1000, 1, 40, 60, 80, 3000], None, [-1.95, -1.95, 0, 1, 2, 2]),
        ("none", [-7, 8], None, [-7, 8]),
        ("rescale_0_1", [-2, 0, 2], None, [0, 0.5, 1]),
        ("rescale_0_1", [4, 4], None, [0, 0]),
        ("rgb_0_1", [0, 51, 255], None, [0, 0.2, 1]),
    ],
)
def test_by_hand(scheme, values, mask, expected):
    np.testing.assert_allclose(one_channel(values, scheme, mask), expected, rtol=1e-6)


def test_ct_of_a_constant_data_set():
    flat = INTENSITIES.model_copy(update={"std": 0.0, "mean": 1.0, "percentile_99_5": 1.0})
    np.testing.assert_array_equal(one_channel([0, 1, 2], "ct", properties=flat), 0)


@pytest.mark.parametrize("values", [[0, 256], [-1, 255]])
def test_rgb_out_of_range(values):
    with pytest.raises(DatasetError, match=r"rgb_to_0_1 has values from .*; they must be within 0\.\.255"):
        one_channel(values, "rgb_0_1")
