"""Elastic deformation: how often, how far, how smooth."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from segflow.augmentation.elastic import ElasticDraw, displacements, draw_elastic
from segflow.augmentation.spatial import draw_spatial
from segflow.recipes.training import AugmentationRecipe

OFTEN = AugmentationRecipe(p_elastic=1.0)


def test_never_takes_nothing_from_the_generator():
    """So that recipes without it give what they gave before there was one."""
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    assert draw_elastic(rng, AugmentationRecipe(), patch_shape=(8, 8)) is None
    assert rng.random() == other.random()
    chosen = draw_spatial(rng, AugmentationRecipe(p_elastic=1), range_rad=0.1, patch_shape=(8, 8, 8))
    assert chosen.elastic is not None
    assert chosen.fires


def test_a_draw_is_replayed_whatever_torch_s_generator():
    first, second = (draw_elastic(np.random.default_rng(5), OFTEN, patch_shape=(9, 12)) for _ in range(2))
    assert first == second
    torch.manual_seed(1)
    moved = displacements(ElasticDraw(4.0, 1.0, 1), (9, 12))
    torch.manual_seed(2)
    assert torch.equal(moved, displacements(ElasticDraw(4.0, 1.0, 1), (9, 12)))
    assert not torch.equal(moved, displacements(ElasticDraw(4.0, 1.0, 2), (9, 12)))


@given(
    st.lists(st.integers(1, 24), min_size=2, max_size=3),
    st.floats(0.5, 30),
    st.floats(0, 5),
    st.integers(0, 2**63 - 1),
)
def test_no_voxel_is_moved_further_than_the_nodes(shape, distance, reach, seed):
    moved = displacements(ElasticDraw(distance, reach, seed), shape)
    assert moved.shape == (len(shape), *shape)
    assert moved.abs().max() <= reach * (1 + 1e-5)


def test_the_reach_is_used():
    moved = displacements(ElasticDraw(6.0, 2.0, 0), (60, 60, 60))
    assert all(axis.abs().max() > 0.5 for axis in moved)
    assert moved.mean().abs() < 0.1
    pairs = itertools.combinations(moved.reshape(3, -1).numpy(), 2)
    assert all(abs(np.corrcoef(a, b)[0, 1]) < 0.2 for a, b in pairs)


def test_a_cubic_spline_along_each_axis():
    """A single line of voxels, against scipy's B-splines."""
    distance, n = 3.7, 25
    n_nodes = int((n - 1) / distance) + 4
    generator = torch.Generator().manual_seed(11)
    nodes = ((2 * torch.rand((1, n_nodes), generator=generator) - 1) * 1.5).numpy()[0]
    knots = np.arange(-3, n_nodes + 1) * distance
    expected = BSpline(knots, nodes, 3)(np.arange(n))
    found = displacements(ElasticDraw(distance, 1.5, 11), (n,))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 50), (20, 24, 22)])
def test_smooth_and_nothing_folded(shape):
    """Neighbours never pass each other, at the largest displacements that a recipe may ask for."""
    d = len(shape)
    for seed in range(10):
        moved = displacements(ElasticDraw(8.0, 0.4 * 8, seed), shape).double().numpy()
        gradient = np.stack([np.stack(np.gradient(axis)) for axis in moved])
        jacobian = np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(d)
        assert np.linalg.det(jacobian).min() > 0
        bends = [np.abs(np.diff(axis, n=2, axis=a)).max() for axis in moved for a in range(d)]
        assert (
            max(bends) < 4 * 3.2 / 8**2 * 1.01
        )  # second derivative of a B-spline: at most 4 reach / distance^2
