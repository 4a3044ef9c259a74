"""Tiles of a sliding window, and their weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from segflow.volumes.tiles import gaussian_weights, tile_corners, tile_starts


@pytest.mark.parametrize(
    ("size", "tile", "step", "starts"),
    [
        (110, 64, 0.5, (0, 23, 46)),
        (64, 64, 0.5, (0,)),
        (65, 64, 0.5, (0, 1)),
        (96, 64, 0.5, (0, 32)),
        (97, 64, 0.5, (0, 16, 33)),  # 16.5 rounds to even
        (128, 64, 1.0, (0, 64)),
        (129, 64, 1.0, (0, 32, 65)),
    ],
)
def test_starts(size, tile, step, starts):
    assert tile_starts(size, tile, step) == starts


def test_an_axis_shorter_than_a_tile():
    with pytest.raises(ValueError, match="63 voxels holds no tile of 64"):
        tile_starts(63, 64, 0.5)


@given(st.integers(1, 60), st.integers(0, 200), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_every_voxel_is_covered(tile, more, step):
    size = tile + more
    starts = tile_starts(size, tile, step)
    covered = np.zeros(size, bool)
    for start in starts:
        covered[start : start + tile] = True
    assert covered.all()
    assert (starts[0], starts[-1]) == (0, size - tile)
    gaps = np.diff(starts)
    assert (gaps <= np.ceil(tile * step)).all()
    assert len(starts) == np.ceil(more / (tile * step)) + 1


def test_corners_first_axis_outermost():
    corners = list(tile_corners((4, 6), (4, 4), 0.5))
    assert corners == [(0, 0), (0, 2)]
    assert list(tile_corners((6, 6), (4, 4), 0.5)) == [(0, 0), (0, 2), (2, 0), (2, 2)]


@pytest.mark.parametrize("patch", [(16, 24), (9, 8, 7), (20, 32, 28)])
def test_weights_like_a_gaussian_filter(patch):
    impulse = np.zeros(patch)
    impulse[tuple(edge // 2 for edge in patch)] = 1
    expected = gaussian_filter(impulse, [edge / 8 for edge in patch], mode="constant")
    expected /= expected.max()
    expected[expected == 0] = expected[expected > 0].min()
    weights = gaussian_weights(patch, 0.125)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=3))
def test_weights_are_positive_and_highest_in_the_middle(patch):
    weights = gaussian_weights(patch, 0.125)
    assert (weights > 0).all()
    assert weights.max() == weights[tuple(edge // 2 for edge in patch)] == 1
