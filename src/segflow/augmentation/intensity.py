"""Noise, brightness, contrast and gamma. Source: method.md section 13, steps 4, 6, 7, 9 and 10.

Each transform is drawn first, as a small value, and then applied in place to an image the caller owns.

Blur and simulated low resolution. Source: method.md section 13, steps 5 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from segflow.augmentation.elastic import (
    apply_along_axes,
    gaussian_matrix,
    linear_matrix,
    nearest_indices,
    upsampling_positions,
)
from segflow.recipes.training import AugmentationRecipe

__all__ = [
    "BlurDraw",
    "FactorDraw",
    "LowResolutionDraw",
    "NoiseDraw",
    "add_noise_",
    "bend_gamma_",
    "blur_",
    "change_brightness_",
    "change_contrast_",
    "draw_blur",
    "draw_factors",
    "draw_low_resolution",
    "draw_noise",
    "lower_resolution_",
]

#: Lower limit of a range or standard deviation that is divided by. Source: method.md section 13, step 10.
_FLOOR: Final = 1e-7
_SEEDS: Final = 2**63


@dataclass(frozen=True)
class NoiseDraw:
    """Gaussian noise: its standard deviation, and the seed it is generated from."""

    std: float
    seed: int


@dataclass(frozen=True)
class FactorDraw:
    """One factor (of brightness or contrast) or exponent (gamma) per channel."""

    factors: tuple[float, ...]


def draw_noise(rng: np.random.Generator, recipe: AugmentationRecipe) -> NoiseDraw | None:
    """Draw whether and how much noise to add.

    Args:
        rng: Source of randomness.
        recipe: Probability and range.

    Source: method.md section 13, step 4.
    """
    if rng.random() >= recipe.p_noise:
        return None
    return NoiseDraw(std=float(rng.uniform(*recipe.noise_std)), seed=int(rng.integers(_SEEDS)))


def add_noise_(image: Tensor, draw: NoiseDraw) -> None:
    """Add noise in place.

    Args:
        image: (c, *spatial).
        draw: Standard deviation and seed.

    Source: method.md section 13, step 4.
    """
    generator = torch.Generator().manual_seed(draw.seed)
    image.add_(torch.randn(image.shape, generator=generator), alpha=draw.std)


def draw_factors(
    rng: np.random.Generator, split: tuple[float, float], *, p: float, channels: int
) -> FactorDraw | None:
    """Draw whether to change an image, and one factor per channel: below 1 or above 1, equally likely.

    Args:
        rng: Source of randomness.
        split: Lowest and highest factor.
        p: Probability of any change.
        channels: Of the image.

    Source: method.md section 13, steps 6, 7, 9 and 10.
    """
    if rng.random() >= p:
        return None
    lowest, highest = split
    factors = tuple(
        float(rng.uniform(lowest, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, highest))
        for _ in range(channels)
    )
    return FactorDraw(factors)


def change_brightness_(image: Tensor, draw: FactorDraw) -> None:
    """Multiply each channel, in place.

    Args:
        image: (c, *spatial).
        draw: Factor per channel.

    Source: method.md section 13, step 6.
    """
    for channel, factor in zip(image, draw.factors, strict=True):
        channel.mul_(factor)


def change_contrast_(image: Tensor, draw: FactorDraw) -> None:
    """Stretch each channel about its mean, within its old minimum and maximum, in place.

    Args:
        image: (c, *spatial).
        draw: Factor per channel.

    Source: method.md section 13, step 7.
    """
    for channel, factor in zip(image, draw.factors, strict=True):
        low, high = (float(limit) for limit in torch.aminmax(channel))
        mean = float(channel.mean())
        channel.mul_(factor).add_(mean * (1 - factor)).clamp_(low, high)


def bend_gamma_(image: Tensor, draw: FactorDraw, *, inverted: bool) -> None:
    """Raise each channel, scaled to 0-1, to a power; then restore its mean and standard deviation; in place.

        u = ((x - min) / range) ^ gamma
        x' = (u - mean(u)) / std(u) * std(x) + mean(x)

    Args:
        image: (c, *spatial).
        draw: Gamma per channel.
        inverted: Do so to -x, which bends the bright end instead of the dark.

    Source: method.md section 13, steps 9 and 10.
    """
    for channel, gamma in zip(image, draw.factors, strict=True):
        low, high = (float(limit) for limit in torch.aminmax(channel))
        mean_x, std_x = _mean_std(channel)
        value_range = max(high - low, _FLOOR)
        if inverted:
            channel.mul_(-1 / value_range).add_(high / value_range)
        else:
            channel.mul_(1 / value_range).add_(-low / value_range)
        channel.clamp_(0, 1).pow_(gamma)
        mean_u, std_u = _mean_std(channel)
        slope = std_x * value_range / max(std_u * value_range, _FLOOR)
        slope = -slope if inverted else slope
        channel.mul_(slope).add_(mean_x - slope * mean_u)


def _mean_std(x: Tensor) -> tuple[float, float]:
    """Mean and unbiased standard deviation; eight times as fast as torch.std_mean on one thread."""
    mean = float(x.mean())
    centred = (x - mean).reshape(-1)
    variance = float(centred.dot(centred)) / max(x.numel() - 1, 1)
    return mean, variance**0.5


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
