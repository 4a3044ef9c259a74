"""The largest patch and batch that fit the memory, at full and low resolution. Source: method.md sections 6.6, 6.7."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segflow.contracts.errors import PlanError
from segflow.contracts.reasons import SizeReasons
from segflow.planning.topology import Topology, activations, topology
from segflow.recipes.planner import PlannerRecipe

__all__ = ["Sizing", "coverage", "plan_low_resolution", "size_patch_and_batch"]

START_VOXELS_3D = 256**3
START_VOXELS_2D = 2048**2
START_EDGE = 512
MIN_BATCH = 2
MIN_PATCH_COVERAGE = 0.25  # share of the median image that a low-resolution patch must cover
ANISOTROPY_RATIO = 2.0  # axes this much finer than the coarsest are coarsened first
MIN_VOXEL_REDUCTION = 2.0


@dataclass(frozen=True)
class Sizing:
    """Patch and batch for images of one resolution.

    Attributes:
        spacing_mm: Per axis (2 or 3).
        median_shape: Voxels per axis; may be x.5.
        topology: The patch, and the stages of the network for it.
        batch_size: Patches per step.
        reasons: For these.
    """

    spacing_mm: tuple[float, ...]
    median_shape: tuple[float, ...]
    topology: Topology
    batch_size: int
    reasons: SizeReasons


def size_patch_and_batch(
    spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    recipe: PlannerRecipe,
    *,
    dataset_voxels: float,
    n_outputs: int,
) -> Sizing:
    """Start from a large patch and shrink it, axis by axis, until the network fits the memory.

    1. Start with a patch of fixed volume, isotropic in millimetres and no larger than the median image (or with another
       one, if the recipe says so).
    2. While the network is too large, shorten the axis that covers most of the median image.
    3. Use the remaining memory for the batch, up to a share of the whole data set.

    If the recipe gives the patch, only the last step is done.

    Args:
        spacing_mm: Per axis (2 or 3).
        median_shape: Voxels per axis; may be x.5.
        recipe: Budgets and caps.
        dataset_voxels: Voxels of all training images at this spacing.
        n_outputs: Entries of the label table.

    Raises:
        PlanError: Not even a patch of one voxel fits the memory.

    Source: method.md section 6.6, and section 26 for other starts and another rounding.
    """
    flat = len(median_shape) == 2
    reference_batch = recipe.reference_batch_2d if flat else recipe.reference_batch_3d
    budget = recipe.memory_2d if flat else recipe.memory_3d
    budget *= recipe.gpu_memory_gb / recipe.reference_gpu_gb
    fitting_batch = reference_batch if recipe.full_batch_must_fit else MIN_BATCH

    found = start = _topology(spacing_mm, _start_patch(spacing_mm, median_shape, recipe), recipe)
    shortened = 0
    estimate = _estimate(found, recipe, n_outputs)
    is_given = recipe.patch_3d is not None and not flat
    while not is_given and estimate / reference_batch * fitting_batch > budget:
        found = _shrink(found, spacing_mm, median_shape, recipe)
        shortened += 1
        estimate = _estimate(found, recipe, n_outputs)

    fitting = budget / estimate * reference_batch
    batch = math.floor(fitting) if recipe.batch_rounding == "down" else round(fitting)
    cap = round(dataset_voxels * recipe.dataset_share / np.prod(found.patch, dtype=np.float64))
    reasons = SizeReasons(
        start=start.patch,
        shortened=shortened,
        is_given=is_given,
        used=estimate / reference_batch * fitting_batch / budget,
        needed=fitting_batch,
        gpu_gb=recipe.gpu_memory_gb,
        fitting=fitting,
        cap=cap,
        share=recipe.dataset_share,
        edges=tuple([edge // d for edge, d in zip(found.patch, found.divisor, strict=True)]),
        min_edge=recipe.min_edge,
        max_poolings=recipe.max_poolings,
        budget=recipe.budget,
    )
    return Sizing(tuple(spacing_mm), tuple(median_shape), found, max(min(batch, cap), MIN_BATCH), reasons)


def plan_low_resolution(
    full: Sizing, recipe: PlannerRecipe, *, n_cases: int, n_outputs: int
) -> Sizing | None:
    """Coarsen the spacing of 3d_fullres until a patch covers a quarter of the median image.

    Args:
        full: Spacing, median shape and patch of 3d_fullres.
        recipe: Budgets and caps.
        n_cases: `numTraining` of dataset.json.
        n_outputs: Entries of the label table.

    Returns:
        Spacing, median shape, patch and batch of 3d_lowres, or None if it would save less than half the voxels.

    Source: method.md section 6.7.
    """
    low = list(full.spacing_mm)
    median_voxels, covered = math.prod(full.median_shape), coverage(full)
    found: Sizing | None = None
    while covered < MIN_PATCH_COVERAGE:
        low = _coarser(low, recipe.low_resolution_step)
        exact = [
            mm / now * size for mm, now, size in zip(full.spacing_mm, low, full.median_shape, strict=True)
        ]
        median_voxels = math.prod(exact)
        rounded = tuple(max(1, round(size)) for size in exact)
        found = size_patch_and_batch(
            low, rounded, recipe, dataset_voxels=median_voxels * n_cases, n_outputs=n_outputs
        )
        covered = math.prod(found.topology.patch) / median_voxels
    saves = math.prod(full.median_shape) / median_voxels >= MIN_VOXEL_REDUCTION
    return found if saves else None


def coverage(sizing: Sizing) -> float:
    """Share of the median image that a patch covers; above 1 if it is larger."""
    return math.prod(sizing.topology.patch) / math.prod(sizing.median_shape)


def _coarser(spacing_mm: Sequence[float], step: float) -> list[float]:
    coarsest = max(spacing_mm)
    fine = [coarsest / value > ANISOTROPY_RATIO for value in spacing_mm]
    return [
        value * step if is_fine or not any(fine) else value
        for value, is_fine in zip(spacing_mm, fine, strict=True)
    ]


def _topology(spacing_mm: Sequence[float], size: Sequence[float], recipe: PlannerRecipe) -> Topology:
    return topology(
        spacing_mm,
        size,
        min_edge=recipe.min_edge,
        max_poolings=recipe.max_poolings,
        lone_axis_edges=recipe.lone_axis_edges,
    )


def _estimate(found: Topology, recipe: PlannerRecipe, n_outputs: int) -> int:
    """What one sample takes of the budget."""
    if recipe.budget == "voxels":
        return math.prod(found.patch)
    return activations(found, recipe, n_outputs=n_outputs)


def _start_patch(
    spacing_mm: Sequence[float], median_shape: Sequence[float], recipe: PlannerRecipe
) -> tuple[float, ...]:
    inverse = 1 / np.asarray(spacing_mm)
    flat = len(inverse) == 2
    if recipe.patch_3d is not None and not flat:
        return recipe.patch_3d
    if recipe.start_patch == "median" or (recipe.start_patch == "finest_512" and flat):
        return tuple(median_shape)
    if recipe.start_patch == "finest_512":
        scale = START_EDGE / inverse.max()
    else:
        voxels = START_VOXELS_2D if flat else START_VOXELS_3D
        scale = (voxels / np.prod(inverse)) ** (1 / len(inverse))
    edges = [round(edge) for edge in inverse * scale]
    return tuple(min(edge, median) for edge, median in zip(edges, median_shape, strict=True))


def _shrink(
    found: Topology, spacing_mm: Sequence[float], median_shape: Sequence[float], recipe: PlannerRecipe
) -> Topology:
    """Shorten one axis by the divisor it would have afterwards."""
    cover = [edge / median for edge, median in zip(found.patch, median_shape, strict=True)]
    axis = max(range(len(cover)), key=lambda a: (cover[a], a))
    tentative = _topology(spacing_mm, _shortened(found, axis, found.divisor[axis]), recipe)
    divisor = tentative.divisor[axis]
    if divisor == found.divisor[axis]:
        return tentative
    return _topology(spacing_mm, _shortened(found, axis, divisor), recipe)


def _shortened(found: Topology, axis: int, by: int) -> tuple[int, ...]:
    if found.patch[axis] <= by:
        raise PlanError("no network fits the memory to plan for; give planning.gpu_memory_gb a larger value")
    return tuple(edge - by if a == axis else edge for a, edge in enumerate(found.patch))
