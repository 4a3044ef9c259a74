"""Elastic deformation: a smooth field of displacements, from random ones at the nodes of a coarse grid.

In between, displacements are cubic B-splines of the nodes' ones. So they are nowhere larger than at the nodes, and
twice continuously differentiable. No node moves by more than 0.4 of the distance to the next, so that nothing is folded
over (Choi & Lee, 2000: injective below 0.48 in 2D and 0.40 in 3D).

Source: ours (nnU-Net of 2018 smooths white noise; its later releases deform nothing).

Linear operators that act on each axis alone, as one small matrix per axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from segflow.recipes.training import AugmentationRecipe

__all__ = [
    "ElasticDraw",
    "apply_along_axes",
    "displacements",
    "draw_elastic",
    "gaussian_matrix",
    "linear_matrix",
    "nearest_indices",
    "upsampling_positions",
]


def apply_along_axes(volume: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each of the last axes by its matrix.

    Args:
        volume: (..., *spatial), contiguous.
        matrices: (n_out, n_in) for each of the last axes, in order.

    Returns:
        (..., *n_out).
    """
    for back, matrix in enumerate(reversed(matrices), start=1):
        if back == 1:
            volume = volume @ matrix.T
            continue
        axis = volume.ndim - back
        flat = volume.reshape(*volume.shape[: axis + 1], -1)
        volume = (matrix @ flat).reshape(*volume.shape[:axis], len(matrix), *volume.shape[axis + 1 :])
    return volume


def linear_matrix(positions: Tensor, n_in: int) -> Tensor:
    """Linear interpolation at positions of a line of samples; 0 outside.

    Args:
        positions: In samples, (n_out,); 0 is the centre of the first.
        n_in: Samples.

    Returns:
        (n_out, n_in).
    """
    samples = torch.arange(n_in, dtype=torch.float32)
    return torch.clamp(1 - (positions[:, None] - samples).abs(), min=0)


def gaussian_matrix(n: int, sigma: float) -> Tensor:
    """Convolution of a line with a Gaussian of odd length near 6 sigma + 0.5; the line is reflected.

    Args:
        n: Samples.
        sigma: In samples.

    Returns:
        (n, n).

    Source: method.md section 13, step 5.
    """
    radius = math.floor((6 * sigma + 0.5) / 2)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    sources = (torch.arange(n)[:, None] + offsets).abs()
    period = max(2 * (n - 1), 1)
    sources = sources % period
    sources = torch.minimum(sources, period - sources) if n > 1 else torch.zeros_like(sources)
    matrix = torch.zeros(n, n)
    return matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(n, -1))


def nearest_indices(n_in: int, n_out: int) -> Tensor:
    """The sample nearest to the centre of each of `n_out` equal parts ("nearest-exact").

    Args:
        n_in: Samples there are.
        n_out: Samples wanted.

    Returns:
        Indices, (n_out,).

    Source: method.md section 13, steps 8 and 16.
    """
    return ((2 * torch.arange(n_out) + 1) * n_in // (2 * n_out)).clamp_(max=n_in - 1)


def upsampling_positions(n_in: int, n_out: int) -> Tensor:
    """Where the centres of `n_out` equal parts lie among `n_in` samples, kept within the outer two.

    Args:
        n_in: Samples there are.
        n_out: Samples wanted.

    Returns:
        Positions, (n_out,).

    Source: method.md section 13, step 8.
    """
    centres = (torch.arange(n_out, dtype=torch.float32) + 0.5) * (n_in / n_out) - 0.5
    return centres.clamp_(min=0, max=n_in - 1)


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
    """Draw whether and how to deform. If it never happens, nothing is drawn.

    Args:
        rng: Source of randomness.
        recipe: Probability and ranges.
        patch_shape: Voxels along the axes that are transformed.
    """
    if recipe.p_elastic == 0 or rng.random() >= recipe.p_elastic:
        return None
    distance = float(rng.uniform(*recipe.elastic_scale)) * max(patch_shape)
    reach = float(rng.uniform(*recipe.elastic_magnitude)) * distance
    return ElasticDraw(distance, reach, int(rng.integers(_SEEDS)))


def displacements(draw: ElasticDraw, patch_shape: Sequence[int]) -> Tensor:
    """How far each voxel of a patch is moved.

    Args:
        draw: The deformation.
        patch_shape: Voxels along the axes that are transformed.

    Returns:
        (axes, *patch), in voxels.
    """
    splines = [_cubic_splines(n, draw.distance) for n in patch_shape]
    nodes = (len(patch_shape), *(spline.shape[1] for spline in splines))
    generator = torch.Generator().manual_seed(draw.seed)
    moved = (2 * torch.rand(nodes, generator=generator) - 1) * draw.reach
    return apply_along_axes(moved, splines)


def _cubic_splines(n: int, distance: float) -> Tensor:
    """Weight of each node for each of n samples, (n, nodes); the first cell begins at the first sample."""
    n_nodes = math.floor((n - 1) / distance) + 1 + _SUPPORT
    positions = torch.arange(n, dtype=torch.float64) / distance + 1  # in nodes; the first one is at -1
    t = (positions[:, None] - torch.arange(n_nodes)).abs()
    near = 2 / 3 - t**2 + t**3 / 2
    far = (2 - t).clamp(min=0) ** 3 / 6
    return torch.where(t < 1, near, far).float()
