"""When a low-resolution stage pays, and at which spacing. Source: method.md section 6.7."""

from __future__ import annotations

import math
from collections.abc import Sequence

from segflow.planning.patch import Sizing, size_patch_and_batch
from segflow.recipes.planner import PlannerRecipe

__all__ = ["plan_low_resolution"]

MIN_PATCH_COVERAGE = 0.25  # the low-resolution patch must see this share of the median image
ANISOTROPY_RATIO = 2.0  # axes this much finer than the coarsest are coarsened first
MIN_VOXEL_REDUCTION = 2.0


def plan_low_resolution(
    spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    full_patch: Sequence[int],
    recipe: PlannerRecipe,
    *,
    n_cases: int,
    n_outputs: int,
) -> Sizing | None:
    """Coarsen the spacing until a patch sees a quarter of the median image.

    Args:
        spacing_mm: Of 3d_fullres.
        median_shape: At that spacing.
        full_patch: Of 3d_fullres.
        recipe: Budgets and caps.
        n_cases: `numTraining` of dataset.json.
        n_outputs: Entries of the label table.

    Returns:
        Spacing, median shape, patch and batch of 3d_lowres, or None if it would save less than half the voxels.

    Source: method.md section 6.7.
    """
    low = list(spacing_mm)
    patch_voxels, median_voxels = math.prod(full_patch), math.prod(median_shape)
    found: Sizing | None = None
    while patch_voxels / median_voxels < MIN_PATCH_COVERAGE:
        low = _coarser(low, recipe.low_resolution_step)
        exact = [full / now * size for full, now, size in zip(spacing_mm, low, median_shape, strict=True)]
        median_voxels = math.prod(exact)
        rounded = tuple(round(size) for size in exact)
        found = size_patch_and_batch(
            low, rounded, recipe, dataset_voxels=median_voxels * n_cases, n_outputs=n_outputs
        )
        patch_voxels = math.prod(found.topology.patch)
    saves = math.prod(median_shape) / median_voxels >= MIN_VOXEL_REDUCTION
    return found if saves else None


def _coarser(spacing_mm: Sequence[float], step: float) -> list[float]:
    coarsest = max(spacing_mm)
    fine = [coarsest / value > ANISOTROPY_RATIO for value in spacing_mm]
    if not any(fine):
        fine = [True] * len(fine)
    return [value * step if is_fine else value for value, is_fine in zip(spacing_mm, fine, strict=True)]
