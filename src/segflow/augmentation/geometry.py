"""How far patches are rotated, and how much must be read so that a rotated patch has no empty corners.

Source: method.md section 12.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from segflow.recipes.augmentation import AugmentationRecipe

__all__ = ["initial_patch_shape", "rotation_range_rad", "uses_dummy_2d"]

#: What is read is larger by the inverse of this, for patches that are scaled down. Source: method.md 12.1.
_SCALE_MARGIN: Final = 0.85
_RIGHT_ANGLE_DEG: Final = 90.0


def uses_dummy_2d(patch_shape: Sequence[int], recipe: AugmentationRecipe) -> bool:
    """True if a 3D patch is so thin along its first axis that it is rotated and scaled in plane only.

    Args:
        patch_shape: Voxels, two or three axes.
        recipe: Gives the ratio of edges.

    Source: method.md section 12.1.
    """
    return len(patch_shape) == 3 and max(patch_shape) / patch_shape[0] > recipe.anisotropy_ratio


def rotation_range_rad(patch_shape: Sequence[int], recipe: AugmentationRecipe) -> float:
    """The largest rotation angle about any axis, in either direction.

    Args:
        patch_shape: Voxels, two or three axes.
        recipe: Gives the angles.

    Returns:
        Radians.

    Source: method.md section 12.1.
    """
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

    Source: method.md section 12.1.
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
