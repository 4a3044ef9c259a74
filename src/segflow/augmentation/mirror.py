"""Mirroring. Source: method.md section 13, step 11."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segflow.recipes.training import AugmentationRecipe

__all__ = ["MirrorDraw", "draw_mirror", "mirror"]


@dataclass(frozen=True)
class MirrorDraw:
    """The spatial axes to mirror, counted from 0."""

    axes: tuple[int, ...]


def draw_mirror(rng: np.random.Generator, recipe: AugmentationRecipe, *, dimensions: int) -> MirrorDraw:
    """Draw which axes to mirror.

    Args:
        rng: Source of randomness.
        recipe: Probability of each axis.
        dimensions: Spatial axes.

    Source: method.md section 13, step 11.
    """
    return MirrorDraw(tuple(axis for axis in range(dimensions) if rng.random() < recipe.p_mirror_axis))


def mirror(array: Tensor, draw: MirrorDraw, *, dimensions: int) -> Tensor:
    """A mirrored copy, or the array itself if no axis is to be mirrored.

    Args:
        array: (..., *spatial).
        draw: Axes.
        dimensions: Spatial axes.

    Returns:
        As the array.

    Source: method.md section 13, step 11.

    """
    if not draw.axes:
        return array
    return torch.flip(array, [axis - dimensions for axis in draw.axes])
