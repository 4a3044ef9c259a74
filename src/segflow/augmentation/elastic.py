"""Elastic deformation: a smooth field of displacements, from random ones at the nodes of a coarse grid.

Between the nodes, displacements are cubic B-splines of the nodes' ones. So they are nowhere larger than at the nodes,
and twice continuously differentiable. No node moves by more than 0.4 of the distance to the next, so that nothing is
folded over (Choi & Lee, 2000: injective below 0.48 in 2D and 0.40 in 3D). nnU-Net deforms nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from segflow.augmentation.separable import apply_along_axes
from segflow.recipes.training import AugmentationRecipe

__all__ = ["ElasticDraw", "coarse_displacements", "displacements", "draw_elastic"]

_SEEDS: Final = 2**63
#: Nodes that a cubic B-spline needs beyond the cells it covers.
_SUPPORT: Final = 3


@dataclass(frozen=True)
class ElasticDraw:
    """A deformation.

    Attributes:
        distance: Between nodes, in voxels.
        reach: Largest displacement along an axis, in voxels.
        seed: Of the displacements.
    """

    distance: float
    reach: float
    seed: int


def draw_elastic(
    rng: np.random.Generator, recipe: AugmentationRecipe, *, patch_shape: Sequence[int]
) -> ElasticDraw | None:
    """Draw whether and how to deform the axes of `patch_shape`. With probability 0, no random number is used."""
    if recipe.p_elastic == 0 or rng.random() >= recipe.p_elastic:
        return None
    distance = float(rng.uniform(*recipe.elastic_scale)) * max(patch_shape)
    reach = float(rng.uniform(*recipe.elastic_magnitude)) * distance
    return ElasticDraw(distance, reach, int(rng.integers(_SEEDS)))


def displacements(draw: ElasticDraw, patch_shape: Sequence[int]) -> Tensor:
    """How far each voxel of a patch is moved along each axis: (axes, *patch), in voxels."""
    return apply_along_axes(*coarse_displacements(draw, patch_shape))


def coarse_displacements(draw: ElasticDraw, patch_shape: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """How far each node is moved, (axes, *nodes), and along each axis the weight of each node, (voxels, nodes)."""
    splines = [_cubic_splines(n, draw.distance) for n in patch_shape]
    nodes = (len(patch_shape), *(spline.shape[1] for spline in splines))
    generator = torch.Generator().manual_seed(draw.seed)
    return (2 * torch.rand(nodes, generator=generator) - 1) * draw.reach, splines


def _cubic_splines(n: int, distance: float) -> Tensor:
    """Weight of each node for each of n samples, (n, nodes); the first cell begins at the first sample."""
    n_nodes = math.floor((n - 1) / distance) + 1 + _SUPPORT
    positions = torch.arange(n, dtype=torch.float64) / distance + 1  # in nodes; the first one is at -1
    t = (positions[:, None] - torch.arange(n_nodes)).abs()
    near = 2 / 3 - t**2 + t**3 / 2
    far = (2 - t).clamp(min=0) ** 3 / 6
    return torch.where(t < 1, near, far).float()
