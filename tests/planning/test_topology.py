"""Where a U-Net pools: worked examples, and what holds for every topology."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segflow.planning.topology import topology

SPACING = st.floats(0.1, 10).map(lambda mm: round(mm, 3))
SIZE = st.integers(2, 1200).map(lambda twice: twice / 2)


@st.composite
def grids(draw):
    axes = draw(st.sampled_from([2, 3]))
    return tuple(
        draw(st.lists(strategy, min_size=axes, max_size=axes).map(tuple)) for strategy in (SPACING, SIZE)
    )


@given(grids())
def test_patch_is_the_size_rounded_up_to_the_strides(grid):
    found = topology(*grid, min_edge=4)
    divisor = np.prod(found.strides, axis=0)
    size = np.asarray(grid[1])
    assert found.divisor == tuple(divisor)
    assert not (np.asarray(found.patch) % divisor).any()
    assert (np.asarray(found.patch) >= size).all()
    assert (np.asarray(found.patch) < size + divisor).all()


@given(grids())
def test_stages(grid):
    found = topology(*grid, min_edge=4)
    strides, kernels = np.asarray(found.strides), np.asarray(found.kernels)
    assert strides.shape == kernels.shape
    assert (strides[0] == 1).all()
    assert (strides[1:].max(axis=1) == 2).all()
    assert set(strides.ravel()) <= {1, 2}
    assert set(kernels.ravel()) <= {1, 3}
    assert (np.diff(kernels, axis=0) >= 0).all()  # once 3, always 3
    assert (kernels[-1] == 3).all()


@given(grids())
def test_bottleneck_keeps_four_voxels(grid):
    size = np.asarray(grid[1])
    found = topology(*grid, min_edge=4)
    pooled = np.asarray(found.divisor) > 1
    assert (np.asarray(found.patch) // np.asarray(found.divisor) >= 4)[pooled].all()
    assert not pooled[size < 8].any()


@given(grids(), st.permutations(range(3)))
def test_axes_are_treated_alike(grid, order):
    spacing_mm, size = grid
    assume(len(size) == 3)
    first = topology(spacing_mm, size, min_edge=4)
    turned = topology([spacing_mm[a] for a in order], [size[a] for a in order], min_edge=4)
    assert turned.patch == tuple(first.patch[a] for a in order)
    assert turned.strides == tuple(tuple(stride[a] for a in order) for stride in first.strides)


@given(grids(), st.integers(1, 9))
def test_only_ratios_of_spacings_count(grid, power):
    spacing_mm, size = grid
    scaled = [mm * 2.0**power for mm in spacing_mm]
    assert topology(scaled, size, min_edge=4) == topology(spacing_mm, size, min_edge=4)


@pytest.mark.parametrize(
    ("size", "patch", "n_stages"),
    [
        ((7, 7), (7, 7), 1),  # too short to pool
        ((8, 8), (8, 8), 2),
        ((8, 7), (8, 7), 1),  # one axis alone needs 12 voxels
        ((11, 7), (11, 7), 1),
        ((12, 7), (12, 7), 2),
        ((50.5, 35), (56, 40), 4),
    ],
)
def test_when_to_stop(size, patch, n_stages):
    found = topology((1.0, 1.0), size, min_edge=4)
    assert found.patch == patch
    assert len(found.strides) == n_stages


@given(grids(), st.integers(1, 9))
def test_a_limit_of_poolings(grid, most):
    found, free = topology(*grid, min_edge=4, max_poolings=most), topology(*grid, min_edge=4)
    assert max(found.divisor) <= 2**most
    if max(free.divisor) <= 2**most:
        assert found == free


def test_axes_that_may_pool_go_on_alone():
    found = topology((4.0, 1.0, 1.0), (64, 64, 64), min_edge=4, max_poolings=2)
    assert found.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 1, 1), (2, 1, 1))
    assert found.patch == (64, 64, 64)


def test_coarse_axis_waits():
    found = topology((4.0, 1.0, 1.0), (32, 64, 64), min_edge=4)
    assert (
        found.strides
        == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 1, 1))[: len(found.strides)]
    )
    assert found.kernels[0] == (1, 3, 3)
    assert found.kernels[1] == (1, 3, 3)  # 4 mm / 2 mm is not below 2
    assert found.kernels[2] == (3, 3, 3)


def test_kernels_heed_axes_that_do_not_pool():
    found = topology((1.0, 3.0, 3.0), (7, 64, 64), min_edge=4)
    assert found.strides[1] == (1, 2, 2)
    assert found.kernels[0] == (3, 1, 1)
