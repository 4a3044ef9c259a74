"""Noise, brightness, contrast and gamma. Source: method.md section 13, steps 4, 6, 7, 9 and 10.

Each transform is drawn first, as a small value, and then applied in place to an image the caller owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from segflow.recipes.augmentation import AugmentationRecipe

__all__ = [
    "FactorDraw",
    "NoiseDraw",
    "add_noise_",
    "bend_gamma_",
    "change_brightness_",
    "change_contrast_",
    "draw_factors",
    "draw_noise",
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
