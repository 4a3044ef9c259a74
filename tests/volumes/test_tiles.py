"""Tiles of a sliding window, and their weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from segflow.volumes.tiles import gaussian_weights, tile_corners, tile_starts


@pytest.mark.parametrize(
    ("size", "step", "starts"),
    [
        (110, 0.5, (0, 23, 46)),
        (64, 0.5, (0,)),
        (65, 0.5, (0, 1)),
        (96, 0.5, (0, 32)),
        (97, 0.5, (0, 16, 33)),  # 16.5 rounds to even
        (128, 1.0, (0, 64)),
        (129, 1.0, (0, 32, 65)),
    ],
)
def test_starts_of_tiles_of_64_voxels(size, step, starts):
    assert tile_starts(size, 64, step) == starts


def test_an_axis_shorter_than_a_tile():
    with pytest.raises(ValueError, match="63 voxels holds no tile of 64"):
        tile_starts(63, 64, 0.5)


@given(st.integers(1, 60), st.integers(0, 200), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_every_voxel_is_covered(tile, more, step):
    starts = tile_starts(tile + more, tile, step)
    assert (starts[0], starts[-1]) == (0, more)
    assert (np.diff(starts) <= np.ceil(tile * step)).all()
    assert len(starts) == np.ceil(more / (tile * step)) + 1


def test_corners_first_axis_outermost():
    assert list(tile_corners((4, 6), (4, 4), 0.5)) == [(0, 0), (0, 2)]
    assert list(tile_corners((6, 6), (4, 4), 0.5)) == [(0, 0), (0, 2), (2, 0), (2, 2)]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=3))
def test_weights_like_a_gaussian_filter(patch):
    middle = tuple(edge // 2 for edge in patch)
    impulse = np.zeros(patch)
    impulse[middle] = 1
    expected = gaussian_filter(impulse, [edge / 8 for edge in patch], mode="constant")
    expected /= expected.max()
    expected[expected == 0] = expected[expected > 0].min()
    weights = gaussian_weights(patch, 0.125)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert (weights > 0).all()
    assert weights.max() == weights[middle] == 1
