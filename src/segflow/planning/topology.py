"""The shape of the network for a patch, and the memory it takes. Source: method.md sections 6.4, 6.5."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segflow.recipes.planner import PlannerRecipe

__all__ = ["Topology", "activations", "features_per_stage", "per_stage", "topology"]

POOL_SPACING_RATIO = 2.0  # axes this much coarser than the finest are not yet pooled (or convolved) along


@dataclass(frozen=True)
class Topology:
    """Strides and kernels per stage, and the patch they divide.

    Attributes:
        strides: Per stage, per axis; the first is all 1.
        kernels: Per stage, per axis.
        patch: Voxels, a multiple of `divisor`.
        divisor: Product of the strides per axis.
    """

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    patch: tuple[int, ...]
    divisor: tuple[int, ...]


def topology(
    spacing_mm: Sequence[float],
    size: Sequence[float],
    *,
    min_edge: int,
    max_poolings: int | None = None,
    lone_axis_edges: int = 3,
) -> Topology:
    """Pool along every axis that is long enough and fine enough, until none is.

    Args:
        spacing_mm: Per axis (2 or 3).
        size: Voxels per axis; may be x.5.
        min_edge: Shortest edge a feature map may have.
        max_poolings: Along an axis; no limit if None.
        lone_axis_edges: Pool along a single axis only if it has at least this many times the shortest edge.

    Returns:
        The stages, and `size` rounded up to a multiple of their strides.

    Source: method.md section 6.4, without the maximum number of poolings.
    """
    axes = range(len(size))
    spacing, current = list(spacing_mm), [float(value) for value in size]
    kernel, divisor = [1] * len(size), [1] * len(size)
    strides: list[tuple[int, ...]] = [(1,) * len(size)]
    kernels: list[tuple[int, ...]] = []
    most = math.inf if max_poolings is None else 2**max_poolings
    while pooled := _poolable_axes(
        spacing,
        [edge if d < most else 0 for edge, d in zip(current, divisor, strict=True)],
        min_edge,
        lone_axis_edges,
    ):
        if 1 in kernel:
            finest = min(spacing)
            kernel = [
                3 if k == 3 or spacing[a] / finest < POOL_SPACING_RATIO else 1 for a, k in enumerate(kernel)
            ]
        kernels.append(tuple(kernel))
        strides.append(tuple([2 if axis in pooled else 1 for axis in axes]))
        for axis in pooled:
            spacing[axis] *= 2
            current[axis] = math.ceil(current[axis] / 2)
            divisor[axis] *= 2
    kernels.append((3,) * len(size))
    patch = tuple([math.ceil(value / d) * d for value, d in zip(size, divisor, strict=True)])
    return Topology(tuple(strides), tuple(kernels), patch, tuple(divisor))


def _poolable_axes(
    spacing: Sequence[float], size: Sequence[float], min_edge: int, lone_axis_edges: int
) -> list[int]:
    long_enough = [axis for axis, value in enumerate(size) if value >= 2 * min_edge]
    if not long_enough:
        return []
    finest = min(spacing[axis] for axis in long_enough)
    fine = [axis for axis in long_enough if spacing[axis] / finest < POOL_SPACING_RATIO]
    if len(fine) == 1 and size[fine[0]] < lone_axis_edges * min_edge:
        return []
    return fine


def features_per_stage(recipe: PlannerRecipe, n_stages: int, dimensions: int) -> tuple[int, ...]:
    """Feature maps of each stage, the bottleneck included: doubled, up to a limit. Source: method.md section 6.5."""
    limit = recipe.max_features_2d if dimensions == 2 else recipe.max_features_3d
    return tuple(min(limit, recipe.base_features * 2**stage) for stage in range(n_stages))


def per_stage(blocks: tuple[int, ...], n_stages: int) -> tuple[int, ...]:
    """One entry per stage, the last one repeated. Source: method.md section 6.5."""
    return tuple(blocks[min(stage, len(blocks) - 1)] for stage in range(n_stages))


def activations(found: Topology, recipe: PlannerRecipe, *, n_outputs: int) -> int:
    """The memory estimate of one sample: output elements of all convolutions of a training step.

    With F_i features, v_i voxels and B_i blocks at stage i of S:
    plain:    sum_i B_i F_i v_i + sum_{i<S-1} (D + 1) F_i v_i + K v_0,
    residual: F_0 v_0 + sum_i 2 B_i F_i v_i + sum_{i>0} F_i v_i + sum_{i<S-1} (D + 1) F_i v_i + K v_0,
    where D counts the decoder's convolutions and K = n_outputs the entries of the label table.

    The result is a number of elements, not of bytes. Source: method.md section 6.5.
    """
    n_stages = len(found.strides)
    features = features_per_stage(recipe, n_stages, len(found.patch))
    blocks = per_stage(recipe.encoder_blocks, n_stages)
    voxels, size = [], list(found.patch)
    for stride in found.strides:
        size = [edge // step for edge, step in zip(size, stride, strict=True)]
        voxels.append(math.prod(size))
    maps = [f * v for f, v in zip(features, voxels, strict=True)]
    decoder = (recipe.decoder_blocks + 1) * sum(maps[:-1]) + n_outputs * voxels[0]
    if recipe.encoder == "plain":
        return sum(b * m for b, m in zip(blocks, maps, strict=True)) + decoder
    residual = sum(2 * b * m for b, m in zip(blocks, maps, strict=True))
    return maps[0] + residual + sum(maps[1:]) + decoder
