"""Statistics of counted draws, against numpy's of the draws themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.fingerprint.extract import DrawnIntensities, intensity_properties

NUMBERS = st.floats(
    width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100
)
CASES = st.lists(st.lists(NUMBERS, min_size=1, max_size=30), min_size=1, max_size=5)


def counted(values):
    found, counts = np.unique(np.asarray(values, np.float32), return_counts=True)
    return DrawnIntensities(found, np.cumsum(counts))


@given(CASES)
def test_like_numpy(cases):
    found = intensity_properties([counted(case) for case in cases])
    pooled = np.concatenate([np.asarray(case, np.float32) for case in cases])
    assert (found.min, found.max) == (pooled.min(), pooled.max())
    assert found.median == np.median(pooled)
    assert [found.percentile_00_5, found.percentile_99_5] == list(np.percentile(pooled, [0.5, 99.5]))
    exact = pooled.astype(np.float64)
    scale = np.abs(exact).max()
    assert found.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9 * scale)
    assert found.std == pytest.approx(exact.std(), rel=1e-6, abs=1e-6 * scale)


def test_like_numpy_of_many_draws():
    rng = np.random.default_rng(0)
    cases = [rng.normal(100, 30, 4001).astype(np.float32) for _ in range(7)]
    found = intensity_properties([counted(case) for case in cases])
    pooled = np.concatenate(cases)
    assert [found.percentile_00_5, found.median, found.percentile_99_5] == list(
        np.percentile(pooled, [0.5, 50, 99.5])
    )
    assert found.percentile_00_5 not in pooled  # between two draws


def test_a_case_without_draws_makes_the_array_double():
    rng = np.random.default_rng(0)
    values = rng.normal(100, 30, 4000).astype(np.float32)
    found = intensity_properties([counted(values), counted([])])
    assert found.median == np.median(values.astype(np.float64))
    assert found.median != intensity_properties([counted(values)]).median == np.median(values)


def test_negative_zero_is_zero():
    found = intensity_properties([counted([-0.0, 0.0, -1.0]), counted([0.0, 2.0])])
    assert found.median == 0
