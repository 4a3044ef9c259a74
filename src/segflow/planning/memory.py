"""How many activations a network keeps, in closed form. Source: method.md section 6.5."""

from __future__ import annotations

import math

from segflow.planning.features import features_per_stage
from segflow.planning.topology import Topology
from segflow.recipes.planner import PlannerRecipe

__all__ = ["activations", "per_stage"]


def per_stage(blocks: tuple[int, ...], n_stages: int) -> tuple[int, ...]:
    """One entry per stage, the last one repeated. Source: method.md section 6.5."""
    return tuple(blocks[min(stage, len(blocks) - 1)] for stage in range(n_stages))


def activations(found: Topology, recipe: PlannerRecipe, *, n_outputs: int) -> int:
    """The memory estimate of one sample: output elements of all convolutions of a training step.

    With F_i features, v_i voxels and B_i blocks at stage i of S:
    plain:    sum_i B_i F_i v_i + sum_{i<S-1} (D + 1) F_i v_i + K v_0,
    residual: F_0 v_0 + sum_i 2 B_i F_i v_i + sum_{i>0} F_i v_i + sum_{i<S-1} (D + 1) F_i v_i + K v_0,
    where D counts the decoder's convolutions and K the entries of the label table.

    Args:
        found: Strides and patch.
        recipe: Encoder and features.
        n_outputs: K.

    Returns:
        A count of numbers, not of bytes.

    Source: method.md section 6.5.
    """
    n_stages, dimensions = len(found.strides), len(found.patch)
    features = features_per_stage(recipe, n_stages, dimensions)
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
