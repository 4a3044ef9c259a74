"""The search for patch and batch: budget, caps and ties; low resolution."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.planning.patch import Sizing, plan_low_resolution, size_patch_and_batch
from segflow.planning.topology import Topology, activations
from segflow.recipes.planner import PlannerRecipe

RECIPE = PlannerRecipe()
#: Spacing and size of two or three axes.
GRIDS = st.integers(2, 3).flatmap(
    lambda axes: st.tuples(
        *(st.tuples(*[entry] * axes) for entry in (st.floats(0.3, 6), st.integers(4, 900)))
    )
)


def search(spacing_mm, shape, *, dataset_voxels=1e12, **changes):
    recipe = RECIPE.model_copy(update=changes)
    return size_patch_and_batch(spacing_mm, shape, recipe, dataset_voxels=dataset_voxels, n_outputs=3), recipe


@given(GRIDS)
def test_a_batch_of_two_fits(grid):
    found, recipe = search(*grid)
    budget = recipe.memory_2d * 12 / 2 if len(grid[0]) == 2 else recipe.memory_3d
    assert activations(found.topology, recipe, n_outputs=3) <= budget
    assert found.batch_size >= 2
    sizes = zip(found.topology.patch, grid[1], found.topology.divisor, strict=True)
    assert all(edge < size + divisor for edge, size, divisor in sizes)


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


@pytest.mark.parametrize(
    ("spacing_mm", "shape", "rule", "patch"),
    [
        ((2.0, 1.0), (4000, 4000), "volume", (1536, 3072)),  # 1448 and 2896, in steps of 512
        ((2.0, 1.0), (4000, 2100), "finest_512", (4096, 2560)),  # the median, in steps of 512
        ((2.0, 1.0), (4000, 2100), "median", (4096, 2560)),
        ((4.0, 1.0, 2.0), (900, 900, 900), "finest_512", (128, 512, 256)),
        ((4.0, 1.0, 2.0), (100, 900, 900), "finest_512", (112, 512, 256)),  # in steps of 16: 100, 50, 25, 13
        ((1.0, 1.0, 1.0), (300, 300, 300), "volume", (256, 256, 256)),
        ((1.0, 1.0, 1.0), (300, 300, 300), "median", (320, 320, 320)),
    ],
)
def test_where_the_search_begins(spacing_mm, shape, rule, patch):
    found, _ = search(spacing_mm, shape, memory_2d=1e15, memory_3d=1e15, start_patch=rule)
    assert found.topology.patch == patch


@pytest.mark.parametrize(("rounding", "batch"), [("nearest", 7), ("down", 6)])
def test_rounding_of_the_batch(rounding, batch):
    plain, recipe = search((1.0, 1.0, 1.0), (36, 50, 35))
    estimate = activations(plain.topology, recipe, n_outputs=3)
    found, _ = search((1.0, 1.0, 1.0), (36, 50, 35), memory_3d=estimate * 3.3, batch_rounding=rounding)
    assert found.batch_size == batch


@given(GRIDS, st.integers(1, 50))
def test_a_budget_of_voxels(grid, batch):
    changes = {"memory_2d": 256**2, "memory_3d": 128**3, "budget": "voxels"}
    changes |= {"reference_batch_2d": batch, "reference_batch_3d": batch, "full_batch_must_fit": True}
    found, _ = search(*grid, start_patch="median", batch_rounding="down", **changes)
    voxels, budget = math.prod(found.topology.patch), 256**2 if len(grid[0]) == 2 else 128**3
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


# Low resolution (method.md section 6.7).


def low(spacing_mm, median_shape, full_patch, recipe=RECIPE):
    full = Sizing(spacing_mm, median_shape, Topology((), (), full_patch, ()), 2, reasons=None)
    return plan_low_resolution(full, recipe, n_cases=100, n_outputs=2)


@pytest.mark.parametrize(
    ("shape", "patch", "kept"),
    [
        ((128, 128, 256), (64, 128, 128), False),  # a patch covers a quarter
        ((160, 160, 160), (96, 96, 96), False),  # 22 %: one or two steps are enough
        ((248, 248, 248), (128, 128, 128), False),  # 7 steps save 1 - 1/1.86
        ((254, 254, 254), (128, 128, 128), True),  # 8 steps save 1 - 1/2.03: more than half
    ],
)
def test_when_there_is_a_low_resolution(shape, patch, kept):
    assert (low((1.0,) * 3, shape, patch) is not None) == kept


def test_isotropic_spacing_grows_evenly():
    found = low((0.5,) * 3, (600, 600, 600), (128,) * 3)
    steps = math.log(found.spacing_mm[0] / 0.5, 1.03)
    assert steps == pytest.approx(round(steps))
    assert found.spacing_mm == (found.spacing_mm[0],) * 3
    patch = math.prod(found.topology.patch)
    ratio = 0.5 / found.spacing_mm[0]
    assert patch / (600 * ratio) ** 3 >= 0.25 > patch / (600 * ratio * 1.03) ** 3
    assert found.median_shape == (round(600 * ratio),) * 3


def test_fine_axes_are_coarsened_first():
    found = low((5.0, 1.0, 1.0), (200, 512, 512), (72, 160, 160))
    in_plane = math.log(found.spacing_mm[1], 1.03)
    through = math.log(found.spacing_mm[0] / 5, 1.03)
    assert in_plane == pytest.approx(round(in_plane))
    assert found.spacing_mm[1] == found.spacing_mm[2]
    assert round(in_plane) > round(through) + 30  # 31 steps bring 1 mm to half of 5 mm


def test_the_recipe_has_the_step():
    recipe = PlannerRecipe(low_resolution_step=2)
    found = low((5.0, 1.0, 1.0), (200, 512, 512), (72, 160, 160), recipe)
    assert found.spacing_mm == (
        5,
        4,
        4,
    )  # at 2 mm, 5 mm is still over twice as coarse; at 4 mm a patch covers enough
    assert found.median_shape == (200, 128, 128)
