"""Blur and simulated low resolution. Source: method.md section 13, steps 5 and 8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from segflow.augmentation.separable import (
    apply_along_axes,
    gaussian_matrix,
    linear_matrix,
    nearest_indices,
    upsampling_positions,
)
from segflow.recipes.augmentation import AugmentationRecipe

__all__ = [
    "BlurDraw",
    "LowResolutionDraw",
    "blur_",
    "draw_blur",
    "draw_low_resolution",
    "lower_resolution_",
]


@dataclass(frozen=True)
class BlurDraw:
    """Per channel, the standard deviation along each axis in voxels, or None to leave it sharp."""

    sigmas: tuple[tuple[float, ...] | None, ...]


@dataclass(frozen=True)
class LowResolutionDraw:
    """Per channel, the share of samples kept along an axis, or None to leave it as it is."""

    factors: tuple[float | None, ...]


def draw_blur(
    rng: np.random.Generator, recipe: AugmentationRecipe, *, channels: int, dimensions: int
) -> BlurDraw | None:
    """Draw whether and how much to blur.

    Args:
        rng: Source of randomness.
        recipe: Probabilities and the range of sigma.
        channels: Of the image.
        dimensions: Spatial axes.

    Source: method.md section 13, step 5.
    """
    if rng.random() >= recipe.p_blur:
        return None
    sigmas = tuple(
        tuple(float(s) for s in rng.uniform(*recipe.blur_sigma, size=dimensions))
        if rng.random() < recipe.p_blur_channel
        else None
        for _ in range(channels)
    )
    return BlurDraw(sigmas)


def blur_(image: Tensor, draw: BlurDraw) -> None:
    """Blur in place.

    Args:
        image: (c, *spatial).
        draw: Per channel.

    Source: method.md section 13, step 5.
    """
    for channel, sigmas in zip(image, draw.sigmas, strict=True):
        if sigmas is not None:
            matrices = [gaussian_matrix(n, s) for n, s in zip(channel.shape, sigmas, strict=True)]
            channel.copy_(apply_along_axes(channel, matrices))


def draw_low_resolution(
    rng: np.random.Generator, recipe: AugmentationRecipe, *, channels: int
) -> LowResolutionDraw | None:
    """Draw whether and how far to lower the resolution.

    Args:
        rng: Source of randomness.
        recipe: Probabilities and the range of the factor.
        channels: Of the image.

    Source: method.md section 13, step 8.
    """
    if rng.random() >= recipe.p_low_resolution:
        return None
    factors = tuple(
        float(rng.uniform(*recipe.low_resolution)) if rng.random() < recipe.p_low_resolution_channel else None
        for _ in range(channels)
    )
    return LowResolutionDraw(factors)


def lower_resolution_(image: Tensor, draw: LowResolutionDraw, *, first_axis: int = 0) -> None:
    """Sample down to the nearest neighbour and up again linearly, in place.

    Args:
        image: (c, *spatial).
        draw: Per channel.
        first_axis: Spatial axes before this one keep their resolution (dummy 2D: 1).

    Source: method.md section 13, step 8.
    """
    for channel, factor in zip(image, draw.factors, strict=True):
        if factor is None:
            continue
        small, matrices = channel, []
        for axis in range(first_axis, channel.ndim):
            n = channel.shape[axis]
            n_small = max(round(n * factor), 1)
            small = small.index_select(axis, nearest_indices(n, n_small))
            matrices.append(linear_matrix(upsampling_positions(n_small, n), n_small))
        channel.copy_(apply_along_axes(small.contiguous(), matrices))
