"""Normalisation schemes by hand."""

from __future__ import annotations

import numpy as np
import pytest
from case_samples import INTENSITIES

from segflow.contracts.errors import DatasetError
from segflow.preprocessing.normalise import normalise


def one_channel(values, scheme, *, mask=None, properties=INTENSITIES):
    channel = np.array(values, np.float32).reshape(1, 1, -1)
    channel.setflags(write=False)
    used = None if mask is None else np.array(mask, bool).reshape(channel.shape)
    found = normalise(channel, scheme, mask=used, intensities=properties)
    assert found.dtype == np.float32
    assert found.shape == channel.shape
    return found.ravel()


def test_zscore():
    np.testing.assert_allclose(one_channel([1, 3, 1, 3], "zscore"), [-1, 1, -1, 1])


def test_zscore_inside_the_mask_alone():
    found = one_channel([0, 1, 3, 0], "zscore", mask=[0, 1, 1, 0])
    np.testing.assert_allclose(found, [0, -1, 1, 0])


def test_zeros_in_the_mask_count():
    found = one_channel([0, 0, 2, 2], "zscore", mask=[0, 1, 1, 1])
    values = np.array([0, 2, 2])
    np.testing.assert_allclose(found[1:], (values - values.mean()) / values.std(), rtol=1e-6)
    assert found[0] == 0


def test_zscore_of_a_constant():
    np.testing.assert_array_equal(one_channel([5, 5, 5], "zscore"), 0)


def test_zscore_with_an_empty_mask():
    np.testing.assert_array_equal(one_channel([0, 0], "zscore", mask=[0, 0]), 0)


def test_ct():
    found = one_channel([-1000, 1, 40, 60, 80, 3000], "ct")
    np.testing.assert_allclose(found, [(1 - 40) / 20, (1 - 40) / 20, 0, 1, 2, 2])


def test_ct_of_a_constant_data_set():
    flat = INTENSITIES.model_copy(update={"std": 0.0, "mean": 1.0, "percentile_99_5": 1.0})
    np.testing.assert_array_equal(one_channel([0, 1, 2], "ct", properties=flat), 0)


def test_none():
    np.testing.assert_array_equal(one_channel([-7, 8], "none"), [-7, 8])


def test_rescale():
    np.testing.assert_allclose(one_channel([-2, 0, 2], "rescale_0_1"), [0, 0.5, 1])
    np.testing.assert_array_equal(one_channel([4, 4], "rescale_0_1"), 0)


def test_rgb():
    np.testing.assert_allclose(one_channel([0, 51, 255], "rgb_0_1"), [0, 0.2, 1])


@pytest.mark.parametrize("values", [[0, 256], [-1, 255]])
def test_rgb_out_of_range(values):
    with pytest.raises(DatasetError, match=r"must be within 0\.\.255, so rename the channel"):
        one_channel(values, "rgb_0_1")
