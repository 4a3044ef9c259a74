"""The search for patch and batch: budget, caps and ties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.planning.patch import size_patch_and_batch
from segflow.planning.topology import activations
from segflow.recipes.planner import PlannerRecipe

RECIPE = PlannerRecipe()


def search(spacing_mm, shape, *, dataset_voxels=1e12, **changes):
    recipe = RECIPE.model_copy(update=changes)
    return size_patch_and_batch(spacing_mm, shape, recipe, dataset_voxels=dataset_voxels, n_outputs=3), recipe


@given(
    st.lists(st.floats(0.3, 6), min_size=3, max_size=3),
    st.lists(st.integers(4, 600), min_size=3, max_size=3),
)
def test_a_batch_of_two_fits(spacing_mm, shape):
    found, recipe = search(spacing_mm, shape)
    estimate = activations(found.topology, recipe, n_outputs=3)
    assert estimate <= recipe.memory_3d
    assert found.batch_size >= 2
    assert all(
        edge < size + d
        for edge, size, d in zip(found.topology.patch, shape, found.topology.divisor, strict=True)
    )


@given(st.integers(8, 1500), st.integers(8, 1500))
def test_two_dimensions_fit_too(height, width):
    found, recipe = search((1.0, 1.0), (height, width))
    assert activations(found.topology, recipe, n_outputs=3) / 12 * 2 <= recipe.memory_2d


def test_batch_fills_the_memory():
    found, recipe = search((1.0, 1.0, 1.0), (36, 50, 35))
    estimate = activations(found.topology, recipe, n_outputs=3)
    assert found.batch_size == round(560e6 / estimate * 2)


@pytest.mark.parametrize(("n_cases", "batch"), [(260, 9), (100, 4), (40, 2), (1, 2)])
def test_batch_covers_a_twentieth_of_the_data_at_most(n_cases, batch):
    voxels = 36 * 50 * 35 * n_cases
    found, _ = search((1.0, 1.0, 1.0), (36, 50, 35), dataset_voxels=voxels)
    assert round(0.05 * voxels / math.prod(found.topology.patch)) <= batch
    assert found.batch_size == batch


def test_patch_starts_isotropic_in_millimetres():
    found, _ = search((2.0, 1.0), (4000, 4000), memory_2d=1e12)
    assert found.topology.patch == (1536, 3072)  # 1448 and 2896, rounded up to a multiple of 512


def start(spacing_mm, shape, rule):
    """With memory for any patch."""
    found, _ = search(spacing_mm, shape, memory_2d=1e15, memory_3d=1e15, start_patch=rule)
    return found.topology.patch


def test_other_starts():
    assert start((2.0, 1.0), (4000, 2100), "finest_512") == (4096, 2560)  # the median, in steps of 512
    assert start((2.0, 1.0), (4000, 2100), "median") == (4096, 2560)
    assert start((4.0, 1.0, 2.0), (900, 900, 900), "finest_512") == (128, 512, 256)
    assert start((4.0, 1.0, 2.0), (100, 900, 900), "finest_512") == (
        112,
        512,
        256,
    )  # in steps of 16: 100, 50, 25, 13
    assert start((1.0, 1.0, 1.0), (300, 300, 300), "volume") == (256, 256, 256)
    assert start((1.0, 1.0, 1.0), (300, 300, 300), "median") == (320, 320, 320)


@pytest.mark.parametrize(("rounding", "batch"), [("nearest", 7), ("down", 6)])
def test_rounding_of_the_batch(rounding, batch):
    plain, recipe = search((1.0, 1.0, 1.0), (36, 50, 35))
    estimate = activations(plain.topology, recipe, n_outputs=3)
    found, _ = search((1.0, 1.0, 1.0), (36, 50, 35), memory_3d=estimate * 3.3, batch_rounding=rounding)
    assert found.batch_size == batch


@given(
    st.lists(st.floats(0.3, 6), min_size=2, max_size=3),
    st.lists(st.integers(4, 900), min_size=3, max_size=3),
    st.integers(1, 50),
)
def test_a_budget_of_voxels(spacing_mm, shape, batch):
    d = len(spacing_mm)
    changes = {
        "memory_2d": 65536,
        "memory_3d": 2097152,
        "reference_batch_2d": batch,
        "reference_batch_3d": batch,
    }
    changes |= {"budget": "voxels", "full_batch_must_fit": True, "batch_rounding": "down"}
    found, _ = search(spacing_mm, shape[:d], start_patch="median", **changes)
    voxels, budget = math.prod(found.topology.patch), 65536 if d == 2 else 2097152
    assert voxels <= budget
    assert found.batch_size == max(math.floor(budget / voxels * batch), 2)


def test_the_last_of_equal_axes_shrinks_first():
    found, _ = search((1.0, 1.0, 1.0), (128, 128, 128), memory_3d=400e6)
    assert found.topology.patch == (128, 128, 112)


def test_full_batch_must_fit():
    kept, _ = search((1.0, 1.0), (1024, 1280))
    shrunk, recipe = search((1.0, 1.0), (1024, 1280), full_batch_must_fit=True)
    assert kept.topology.patch == (1024, 1280)
    assert kept.batch_size == 2
    assert activations(shrunk.topology, recipe, n_outputs=3) <= recipe.memory_2d
    assert shrunk.batch_size >= 12
