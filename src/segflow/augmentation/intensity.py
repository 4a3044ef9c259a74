"""Noise, blur, brightness, contrast, low resolution and gamma. Source: method.md section 13, steps 4 to 10.

Each transform is drawn first: None if it does not happen, else what to do, mostly one value per channel. It is then
applied in place to an image (c, *spatial) that the caller owns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from segflow.augmentation.separable import (
    apply_along_axes,
    gaussian_matrix,
    linear_matrix,
    nearest_indices,
    upsampling_positions,
)
from segflow.recipes.training import AugmentationRecipe

__all__ = [
    "Blur",
    "Factors",
    "LowResolution",
    "Noise",
    "add_noise_",
    "bend_gamma_",
    "bend_gamma_inverted_",
    "bend_rows_",
    "blur_",
    "change_brightness_",
    "change_contrast_",
    "draw_blur",
    "draw_factors",
    "draw_low_resolution",
    "draw_noise",
    "lower_resolution_",
    "n_kept",
    "stretch_rows_",
]

#: Standard deviation of noise, and the seed that it is generated from.
Noise = tuple[float, int]
#: Per channel, the standard deviation along each axis in voxels, or None to leave it sharp.
Blur = tuple[tuple[float, ...] | None, ...]
#: Per channel, a factor (of brightness or contrast) or an exponent (gamma).
Factors = tuple[float, ...]
#: The first axis whose resolution is lowered (dummy 2D: 1), and per channel the share of samples kept along an axis, or
#: None to leave it as it is.
LowResolution = tuple[int, tuple[float | None, ...]]

T = TypeVar("T")
Number = TypeVar("Number", float, Tensor)

#: Lower limit of a range or standard deviation that is divided by. Source: method.md section 13, step 10.
_FLOOR: Final = 1e-7
_SEEDS: Final = 2**63


def _draw_channels(
    rng: np.random.Generator, draw_one: Callable[[], T], *, p: float, channels: int
) -> tuple[T, ...] | None:
    """With probability p, one value per channel."""
    return None if rng.random() >= p else tuple(draw_one() for _ in range(channels))


def draw_noise(rng: np.random.Generator, recipe: AugmentationRecipe) -> Noise | None:
    """Draw whether and how much noise to add."""
    if rng.random() >= recipe.p_noise:
        return None
    return float(rng.uniform(*recipe.noise_std)), int(rng.integers(_SEEDS))


def add_noise_(image: Tensor, noise: Noise) -> None:
    """Add Gaussian noise."""
    std, seed = noise
    generator = torch.Generator(image.device).manual_seed(seed)
    image.add_(torch.randn(image.shape, generator=generator, device=image.device), alpha=std)


def draw_blur(
    rng: np.random.Generator, recipe: AugmentationRecipe, *, channels: int, dimensions: int
) -> Blur | None:
    """Draw whether to blur, which channels, and how much along each axis."""

    def draw_one() -> tuple[float, ...] | None:
        if rng.random() >= recipe.p_blur_channel:
            return None
        return tuple(float(sigma) for sigma in rng.uniform(*recipe.blur_sigma, size=dimensions))

    return _draw_channels(rng, draw_one, p=recipe.p_blur, channels=channels)


def blur_(image: Tensor, blur: Blur) -> None:
    """Convolve channels with a Gaussian."""
    for channel, sigmas in zip(image, blur, strict=True):
        if sigmas is not None:
            matrices = [gaussian_matrix(n, s) for n, s in zip(channel.shape, sigmas, strict=True)]
            channel.copy_(apply_along_axes(channel, matrices))


def draw_factors(
    rng: np.random.Generator, split: tuple[float, float], *, p: float, channels: int
) -> Factors | None:
    """Draw whether to change an image, and a factor per channel: below 1 or above 1, equally likely.

    Args:
        rng: Source of randomness.
        split: Lowest and highest factor.
        p: Probability of any change.
        channels: Of the image.
    """
    lowest, highest = split

    def draw_one() -> float:
        return float(rng.uniform(lowest, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, highest))

    return _draw_channels(rng, draw_one, p=p, channels=channels)


def change_brightness_(image: Tensor, factors: Factors) -> None:
    """Multiply each channel."""
    for channel, factor in zip(image, factors, strict=True):
        channel.mul_(factor)


def change_contrast_(image: Tensor, factors: Factors) -> None:
    """Stretch each channel about its mean, within its old minimum and maximum."""
    for channel, factor in zip(image, factors, strict=True):
        _stretch_(channel, factor, _limits(channel), float(channel.mean()))


def stretch_rows_(rows: Tensor, factors: Tensor) -> None:
    """`change_contrast_` of channels as rows (n, voxels), by factors (n, 1)."""
    _stretch_(rows, factors, torch.aminmax(rows, dim=1, keepdim=True), rows.mean(1, keepdim=True))


def _stretch_(x: Tensor, factor: Number, limits: tuple[Number, Number], mean: Number) -> None:
    x.mul_(factor).add_(mean * (1 - factor)).clamp_(*limits)


def draw_low_resolution(
    rng: np.random.Generator, recipe: AugmentationRecipe, *, channels: int, first_axis: int
) -> LowResolution | None:
    """Draw whether to lower the resolution, of which channels, and how far."""

    def draw_one() -> float | None:
        if rng.random() >= recipe.p_low_resolution_channel:
            return None
        return float(rng.uniform(*recipe.low_resolution))

    shares = _draw_channels(rng, draw_one, p=recipe.p_low_resolution, channels=channels)
    return None if shares is None else (first_axis, shares)


def n_kept(n: int, share: float) -> int:
    """The samples kept of n along an axis."""
    return max(round(n * share), 1)


def lower_resolution_(image: Tensor, low_resolution: LowResolution) -> None:
    """Sample channels down to the nearest neighbour, and up again linearly."""
    first_axis, shares = low_resolution
    for channel, share in zip(image, shares, strict=True):
        if share is None:
            continue
        small, matrices = channel, []
        for axis in range(first_axis, channel.ndim):
            n = channel.shape[axis]
            n_small = n_kept(n, share)
            small = small.index_select(axis, nearest_indices(n, n_small))
            matrices.append(linear_matrix(upsampling_positions(n_small, n), n_small))
        channel.copy_(apply_along_axes(small.contiguous(), matrices))


def bend_gamma_(image: Tensor, exponents: Factors, *, inverted: bool = False) -> None:
    """Raise each channel, scaled to 0-1, to a power; then restore its mean and standard deviation.

        u = ((x - min) / range) ^ gamma
        x' = (u - mean(u)) / std(u) * std(x) + mean(x)

    Inverted, the same is done to -x, which bends the bright end instead of the dark.
    """
    for channel, gamma in zip(image, exponents, strict=True):
        _bend_(channel, gamma, _limits(channel), _mean_std, inverted=inverted)


bend_gamma_inverted_: Final = partial(bend_gamma_, inverted=True)


def bend_rows_(rows: Tensor, exponents: Tensor, *, inverted: bool = False) -> None:
    """`bend_gamma_` of channels as rows (n, voxels), to powers (n, 1)."""
    limits = torch.aminmax(rows, dim=1, keepdim=True)
    _bend_(rows, exponents, limits, _mean_std_of_rows, inverted=inverted)


def _bend_(
    x: Tensor,
    gamma: Number,
    limits: tuple[Number, Number],
    mean_std: Callable[[Tensor], tuple[Number, Number]],
    *,
    inverted: bool,
) -> None:
    low, high = limits
    mean_x, std_x = mean_std(x)
    value_range = _floored(high - low)
    if inverted:
        x.mul_(-1 / value_range).add_(high / value_range)
    else:
        x.mul_(1 / value_range).add_(-low / value_range)
    x.clamp_(0, 1).pow_(gamma)
    mean_u, std_u = mean_std(x)
    slope = std_x * value_range / _floored(std_u * value_range)
    slope = -slope if inverted else slope
    x.mul_(slope).add_(mean_x - slope * mean_u)


def _floored(value: Number) -> Number:
    return value.clamp(min=_FLOOR) if isinstance(value, Tensor) else max(value, _FLOOR)


def _limits(x: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(x)
    return float(low), float(high)


def _mean_std(x: Tensor) -> tuple[float, float]:
    """Mean and unbiased standard deviation; eight times as fast as torch.std_mean on one thread."""
    mean = float(x.mean())
    centred = (x - mean).reshape(-1)
    variance = float(centred.dot(centred)) / max(x.numel() - 1, 1)
    return mean, variance**0.5


def _mean_std_of_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    mean = rows.mean(1, keepdim=True)
    variance = (rows - mean).square_().sum(1, keepdim=True) / max(rows.shape[1] - 1, 1)
    return mean, variance.sqrt_()
