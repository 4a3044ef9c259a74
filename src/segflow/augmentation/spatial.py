"""Rotation, scaling and elastic deformation, and how much is read so that a rotated patch has no empty corners.

Everything works on the last 2 or 3 axes; an axis before them holds channels, or the slices of a thin
volume that is rotated in plane ("dummy 2D").

Source: method.md sections 12.1, 13 (step 2) and 13.2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segflow.augmentation.elastic import ElasticDraw, displacements, draw_elastic
from segflow.augmentation.separable import apply_along_axes, linear_matrix
from segflow.recipes.training import AugmentationRecipe

__all__ = [
    "EDGE",
    "OUTSIDE",
    "SpatialDraw",
    "centred_lines",
    "corner_weights",
    "corners_of",
    "draw_spatial",
    "initial_patch_shape",
    "matrix_of",
    "most_likely",
    "rotation_range_rad",
    "source_box",
    "transform_image",
    "transform_labels",
    "uses_dummy_2d",
]

#: What is read is larger by the inverse of this, for patches that are scaled down. Source: method.md 12.1.
_SCALE_MARGIN: Final = 0.85
_RIGHT_ANGLE_DEG: Final = 90.0
#: Scores that differ by less are a tie, which the nearer voxel wins (float32 rounding).
_TIE: Final = 1e-5
#: Label of voxels outside what was read. Source: method.md section 13.2.
OUTSIDE: Final = -1
#: Marks cells whose corners have several labels; no label is as low.
_MIXED: Final = -(2**15)
#: Keeps positions off the far border, so that they have a cell; too little to matter.
EDGE: Final = 1e-3


def uses_dummy_2d(patch_shape: Sequence[int], recipe: AugmentationRecipe) -> bool:
    """True if a 3D patch is so thin along its first axis that it is rotated, scaled and deformed in plane only."""
    return len(patch_shape) == 3 and max(patch_shape) / patch_shape[0] > recipe.anisotropy_ratio


def rotation_range_rad(patch_shape: Sequence[int], recipe: AugmentationRecipe) -> float:
    """The largest rotation angle about any axis, in either direction, for a patch of two or three axes."""
    if len(patch_shape) == 3:
        dummy_2d = uses_dummy_2d(patch_shape, recipe)
        return math.radians(recipe.rotation_2d_deg if dummy_2d else recipe.rotation_3d_deg)
    elongated = max(patch_shape) / min(patch_shape) > recipe.elongated_ratio
    return math.radians(recipe.rotation_2d_elongated_deg if elongated else recipe.rotation_2d_deg)


def initial_patch_shape(patch_shape: Sequence[int], recipe: AugmentationRecipe) -> tuple[int, ...]:
    """What to read for a training patch, before rotation and scaling.

    The element-wise maximum of the patch and of the patch rotated about each axis alone, with a margin.

    Args:
        patch_shape: Voxels of the final patch, two or three axes.
        recipe: Gives the angles.

    Returns:
        Voxels, as many axes.
    """
    dummy_2d = uses_dummy_2d(patch_shape, recipe)
    plane = tuple(patch_shape[1:]) if dummy_2d else tuple(patch_shape)
    angle = min(rotation_range_rad(patch_shape, recipe), math.radians(_RIGHT_ANGLE_DEG))
    largest = [max(edges) for edges in zip(plane, *_rotated_patches(plane, angle), strict=True)]
    initial = tuple(int(edge / _SCALE_MARGIN) for edge in largest)
    return (patch_shape[0], *initial) if dummy_2d else initial


def _rotated_patches(shape: Sequence[int], angle_rad: float) -> list[tuple[float, ...]]:
    """The patch as a vector from the origin, rotated about each axis alone."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    if len(shape) == 2:
        x, y = shape
        return [(x * c + y * s, abs(y * c - x * s))]
    x, y, z = shape
    return [
        (x, y * c + z * s, abs(z * c - y * s)),
        (abs(x * c - z * s), y, x * s + z * c),
        (x * c + y * s, abs(y * c - x * s), z),
    ]


@dataclass(frozen=True)
class SpatialDraw:
    """A rotation, a scaling and a deformation; those that are None don't happen.

    Attributes:
        angles_rad: About each axis (3D), or a single angle (2D).
        scale: Above 1 makes objects smaller.
        elastic: Of the patch, before it is rotated and scaled.
    """

    angles_rad: tuple[float, ...] | None = None
    scale: float | None = None
    elastic: ElasticDraw | None = None

    @property
    def fires(self) -> bool:
        """True if voxels must be interpolated."""
        return not (self.angles_rad is None and self.scale is None and self.elastic is None)


def draw_spatial(
    rng: np.random.Generator, recipe: AugmentationRecipe, *, range_rad: float, patch_shape: Sequence[int]
) -> SpatialDraw:
    """Draw whether and how to rotate, scale and deform.

    Args:
        rng: Source of randomness.
        recipe: Probabilities and ranges.
        range_rad: Angles are uniform between minus this and this.
        patch_shape: Voxels along the axes that are transformed, 2 or 3.
    """
    angles = scale = None
    if rng.random() < recipe.p_rotation:
        n_angles = 3 if len(patch_shape) == 3 else 1
        angles = tuple(float(angle) for angle in rng.uniform(-range_rad, range_rad, size=n_angles))
    if rng.random() < recipe.p_scaling:
        scale = float(rng.uniform(*recipe.scaling))
    return SpatialDraw(angles, scale, draw_elastic(rng, recipe, patch_shape=patch_shape))


def source_box(
    draw: SpatialDraw, *, read_shape: Sequence[int], patch_shape: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The part of the patch read that the transform looks at.

    Args:
        draw: The transform.
        read_shape: Voxels of the patch read, along the transformed axes.
        patch_shape: Voxels of the final patch, along the same.

    Returns:
        First voxel and shape. Without a transform: the central patch, starting at read // 2 - patch // 2.
    """
    if not draw.fires:
        return tuple(r // 2 - p // 2 for r, p in zip(read_shape, patch_shape, strict=True)), tuple(
            patch_shape
        )
    moved = 0.0 if draw.elastic is None else draw.elastic.reach
    reach = np.abs(matrix_of(draw, len(patch_shape))) @ ((np.asarray(patch_shape) - 1) / 2 + moved)
    centre = (np.asarray(read_shape) - 1) / 2
    first = np.maximum(np.floor(centre - reach - _TIE).astype(int), 0)
    stop = np.minimum(np.floor(centre + reach + _TIE).astype(int) + 2, read_shape)
    return tuple(first.tolist()), tuple((stop - first).tolist())


def transform_image(
    draw: SpatialDraw, image: Tensor, *, centre: Sequence[float], patch_shape: Sequence[int]
) -> Tensor:
    """Sample an image (bi- or trilinearly) where the transform takes the voxels of the patch; 0 outside.

    Args:
        draw: A transform that fires.
        image: (n, *source).
        centre: Where the patch's centre comes to lie, in voxels of the source.
        patch_shape: Voxels of the patch.

    Returns:
        (n, *patch).
    """
    positions = _positions(draw, centre=centre, patch_shape=patch_shape)
    source_shape = image.shape[1:]
    if draw.angles_rad is None and draw.elastic is None:
        lines = [linear_matrix(q.reshape(-1), n) for q, n in zip(positions, source_shape, strict=True)]
        return apply_along_axes(image, lines)
    grid = torch.empty(*patch_shape, len(patch_shape))
    for axis, (q, n) in enumerate(zip(positions, source_shape, strict=True)):
        grid[..., -1 - axis] = q.mul_(2 / n).add_(1 / n - 1)
    return F.grid_sample(image[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[
        0
    ]


def transform_labels(
    draw: SpatialDraw, labels: Tensor, *, centre: Sequence[float], patch_shape: Sequence[int]
) -> Tensor:
    """The label whose interpolated indicator is largest; the nearest voxel's if there is a tie.

    Outside the source, labels are -1. Most voxels lie between corners of one and the same label, and only
    the others need any weights.

    Args:
        draw: A transform that fires.
        labels: (n, *source), int16.
        centre: Where the patch's centre comes to lie, in voxels of the source.
        patch_shape: Voxels of the patch.

    Returns:
        (n, *patch), as the labels.
    """
    padded = F.pad(labels, (1, 1) * len(patch_shape), value=OUTSIDE)
    cells = _uniform_cells(padded)
    positions = _positions(draw, centre=[c + 1 for c in centre], patch_shape=patch_shape)
    inside = [q.clamp_(0, n - EDGE) for q, n in zip(positions, cells.shape[1:], strict=True)]
    floors = [q.int() for q in inside]
    index = _flat_index(floors, cells.shape[1:]).reshape(-1)
    result = cells.reshape(len(labels), -1).index_select(1, index)
    layer, voxel = torch.nonzero(result == _MIXED, as_tuple=True)
    floors = [floor.expand(*patch_shape).reshape(-1)[voxel] for floor in floors]
    fractions = [
        q.expand(*patch_shape).reshape(-1)[voxel] - floor for q, floor in zip(inside, floors, strict=True)
    ]
    result[layer, voxel] = most_likely(corners_of(padded, layer, floors), corner_weights(fractions))
    return result.reshape(len(labels), *patch_shape)


def _uniform_cells(labels: Tensor) -> Tensor:
    """Per cell between neighbouring voxels, the label of all its corners, or _MIXED if they differ."""
    low = high = labels
    for axis in range(1, labels.ndim):
        n = labels.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, n), low.narrow(axis, 1, n))
        high = torch.maximum(high.narrow(axis, 0, n), high.narrow(axis, 1, n))
    return low.masked_fill_(low != high, _MIXED)


def _flat_index(indices: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """The position in a flattened array of that shape."""
    first, *rest = indices
    for index, n in zip(rest, shape[1:], strict=True):
        first = torch.add(index, first, alpha=n)
    return first


def corners_of(labels: Tensor, layer: Tensor, floors: Sequence[Tensor]) -> Tensor:
    """The labels (2^d, n) of the corners of cells whose first corner is given: a layer and d indices, each (n,)."""
    first = _flat_index([layer, *(floor.long() for floor in floors)], labels.shape)
    flat, strides = labels.reshape(-1), labels.stride()[1:]
    offsets = [
        sum(c * stride for c, stride in zip(corner, strides, strict=True))
        for corner in itertools.product((0, 1), repeat=len(strides))
    ]
    return torch.stack([flat.index_select(0, first + offset) for offset in offsets])


def corner_weights(fractions: Sequence[Tensor]) -> Tensor:
    """Weights (2^d, n) of a cell's corners from the fractions (n,) along its axes."""
    weights = fractions[0].new_ones(1, len(fractions[0]))
    for fraction in fractions:
        weights = (weights[:, None] * torch.stack((1 - fraction, fraction))).flatten(0, 1)
    return weights


def most_likely(labels: Tensor, weights: Tensor) -> Tensor:
    """Of each n, the label whose weights sum up highest, the heaviest corner deciding ties."""
    scores = weights * _TIE
    for i, (label, weight) in enumerate(zip(labels, weights, strict=True)):
        scores[i] += weight
        for j in range(i + 1, len(labels)):
            same = (label == labels[j]).float()
            scores[i].addcmul_(same, weights[j])
            scores[j].addcmul_(same, weight)
    best, found = scores[0], labels[0]
    for score, label in zip(scores[1:], labels[1:], strict=True):
        found = torch.where(score > best, label, found)
        best = torch.maximum(best, score)
    return found


def _positions(draw: SpatialDraw, *, centre: Sequence[float], patch_shape: Sequence[int]) -> list[Tensor]:
    """Per source axis, where the patch's voxels are sampled: new tensors, broadcastable to the patch."""
    d = len(patch_shape)
    matrix = matrix_of(draw, d)
    lines = centred_lines(patch_shape)
    if draw.elastic is not None:
        moved = displacements(draw.elastic, patch_shape)
        lines = [line + moved[axis] for axis, line in enumerate(lines)]
    positions = []
    for row in range(d):
        terms = [line * float(m) for line, m in zip(lines, matrix[row], strict=True) if m != 0]
        positions.append(reduce(torch.add, terms[1:], terms[0] + centre[row]))
    return positions


def centred_lines(patch_shape: Sequence[int], device: torch.device | None = None) -> list[Tensor]:
    """Per axis the voxels' positions from the centre, broadcastable to the patch."""
    lines = (torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in patch_shape)
    return [line.reshape(-1, *[1] * (len(patch_shape) - axis)) for axis, line in enumerate(lines, start=1)]


def matrix_of(draw: SpatialDraw, dimensions: int) -> NDArray[np.float64]:
    """Rotation about axis 0 first, then 1, then 2; times the scale: (d, d), from the patch to the source."""
    scale = 1.0 if draw.scale is None else draw.scale
    if draw.angles_rad is None:
        return np.eye(dimensions) * scale
    planes = [(1, 2), (0, 2), (0, 1)] if dimensions == 3 else [(0, 1)]
    rotation = np.eye(dimensions)
    for (i, j), angle in zip(planes, draw.angles_rad, strict=True):
        single = np.eye(dimensions)
        single[[i, j], [i, j]] = math.cos(angle)
        single[i, j], single[j, i] = -math.sin(angle), math.sin(angle)
        rotation = single @ rotation
    return rotation * scale
