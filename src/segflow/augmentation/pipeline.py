"""All transforms of a training patch, in the method's order. Source: method.md section 13."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segflow.augmentation import intensity
from segflow.augmentation.spatial import (
    SpatialDraw,
    draw_spatial,
    rotation_range_rad,
    source_box,
    transform_image,
    transform_labels,
    uses_dummy_2d,
)
from segflow.augmentation.targets import CascadeDraw, draw_cascade, make_targets, one_hot, perturb_
from segflow.contracts.labels import Labels
from segflow.recipes.training import AugmentationRecipe

__all__ = [
    "AugmentationDraw",
    "Example",
    "Patch",
    "Settings",
    "augment",
    "draw_augmentation",
    "needed_box",
    "plain",
]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is the same for all patches of a training.

    Attributes:
        recipe: Probabilities and ranges.
        patch_shape: Voxels of a training patch, two or three axes.
        target_shapes: Of the scored outputs, full resolution first.
        labels: Classes or regions.
        zero_outside: Per image channel: 0 outside the non-zero mask after augmentation.
        cascade: The previous stage's labels are an extra input.
    """

    recipe: AugmentationRecipe
    patch_shape: tuple[int, ...]
    target_shapes: tuple[tuple[int, ...], ...]
    labels: Labels
    zero_outside: tuple[bool, ...]
    cascade: bool = False

    @property
    def n_fixed_axes(self) -> int:
        """Axes before those that are rotated, scaled and deformed: the first one of a thin 3D patch."""
        return int(uses_dummy_2d(self.patch_shape, self.recipe))


@dataclass(frozen=True)
class Patch:
    """What was read for a patch; tensors the transforms own.

    Attributes:
        image: (c, *spatial), float32.
        labels: (*spatial), integer, -1 outside.
        previous: As labels, for a cascade.
    """

    image: Tensor
    labels: Tensor
    previous: Tensor | None = None


@dataclass(frozen=True)
class Example:
    """The input of the network, and what its outputs are compared with.

    Attributes:
        image: (c, *patch), with a channel per foreground label of the previous stage in a cascade.
        targets: As of `make_targets`.
    """

    image: Tensor
    targets: list[Tensor]


@dataclass(frozen=True, kw_only=True)
class AugmentationDraw:
    """Everything random about one patch; None for a transform that does not happen."""

    spatial: SpatialDraw
    noise: intensity.Noise | None
    blur: intensity.Blur | None
    brightness: intensity.Factors | None
    contrast: intensity.Factors | None
    low_resolution: intensity.LowResolution | None
    gamma_inverted: intensity.Factors | None
    gamma: intensity.Factors | None
    mirror_axes: tuple[int, ...]
    cascade: CascadeDraw


def draw_augmentation(rng: np.random.Generator, settings: Settings) -> AugmentationDraw:
    """Draw all transforms of one patch."""
    recipe, n = settings.recipe, len(settings.patch_shape)
    channels = len(settings.zero_outside)
    draw_factors = partial(intensity.draw_factors, rng, channels=channels)
    return AugmentationDraw(
        spatial=draw_spatial(
            rng,
            recipe,
            range_rad=rotation_range_rad(settings.patch_shape, recipe),
            patch_shape=settings.patch_shape[settings.n_fixed_axes :],
        ),
        noise=intensity.draw_noise(rng, recipe),
        blur=intensity.draw_blur(rng, recipe, channels=channels, dimensions=n),
        brightness=draw_factors(recipe.brightness_split, p=recipe.p_brightness),
        contrast=draw_factors(recipe.contrast_split, p=recipe.p_contrast),
        low_resolution=intensity.draw_low_resolution(rng, recipe, channels=channels),
        gamma_inverted=draw_factors(recipe.gamma_split, p=recipe.p_gamma_inverted),
        gamma=draw_factors(recipe.gamma_split, p=recipe.p_gamma),
        mirror_axes=tuple(axis for axis in range(n) if rng.random() < recipe.p_mirror_axis),
        cascade=draw_cascade(rng, recipe, n_labels=len(settings.labels.foreground_values))
        if settings.cascade
        else CascadeDraw(),
    )


def needed_box(
    draw: AugmentationDraw, settings: Settings, *, read_shape: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The part of the patch to be read that the transforms look at.

    Args:
        draw: The transforms.
        settings: Of the training.
        read_shape: Voxels of the patch to be read (`initial_patch_shape`).

    Returns:
        First voxel and shape, along all spatial axes.
    """
    k = settings.n_fixed_axes
    first, shape = source_box(draw.spatial, read_shape=read_shape[k:], patch_shape=settings.patch_shape[k:])
    return (*(0,) * k, *first), (*read_shape[:k], *shape)


def augment(
    patch: Patch, draw: AugmentationDraw, settings: Settings, *, read_shape: Sequence[int]
) -> Example:
    """Apply all transforms. The image of the patch may be overwritten.

    Args:
        patch: The `needed_box` of what was to be read.
        draw: The transforms.
        settings: Of the training.
        read_shape: Voxels that were to be read.
    """
    patch = _move(patch, draw, settings, read_shape)
    steps: tuple[tuple[Any, Callable[..., None]], ...] = (
        (draw.noise, intensity.add_noise_),
        (draw.blur, intensity.blur_),
        (draw.brightness, intensity.change_brightness_),
        (draw.contrast, intensity.change_contrast_),
        (draw.low_resolution, partial(intensity.lower_resolution_, first_axis=settings.n_fixed_axes)),
        (draw.gamma_inverted, partial(intensity.bend_gamma_, inverted=True)),
        (draw.gamma, intensity.bend_gamma_),
    )
    for drawn, change_ in steps:
        if drawn is not None:
            change_(patch.image, drawn)
    axes = [axis - len(settings.patch_shape) for axis in draw.mirror_axes]
    image, labels = _mirrored(patch.image, axes), _mirrored(patch.labels, axes)
    for channel, zero in enumerate(settings.zero_outside):
        if zero:
            image[channel].masked_fill_(labels < 0, 0)
    previous = None if patch.previous is None else _mirrored(patch.previous, axes)
    return _example(Patch(image, labels, previous), settings, draw.cascade)


def plain(patch: Patch, settings: Settings) -> Example:
    """The example without any random transform, for validation; the patch has its final shape."""
    return _example(patch, settings, CascadeDraw())


def _move(patch: Patch, draw: AugmentationDraw, settings: Settings, read_shape: Sequence[int]) -> Patch:
    """Rotate, scale and deform; fixed axes are folded into the channels for it."""
    if not draw.spatial.fires:
        return patch
    k = settings.n_fixed_axes
    first, _ = needed_box(draw, settings, read_shape=read_shape)
    centre = [(r - 1) / 2 - f for r, f in zip(read_shape[k:], first[k:], strict=True)]
    plane = settings.patch_shape[k:]

    def moved(array: Tensor, transform: Callable[..., Tensor]) -> Tensor:
        folded = array.reshape(-1, *array.shape[array.ndim - len(plane) :])
        result = transform(draw.spatial, folded, centre=centre, patch_shape=plane)
        channels = array.shape[: array.ndim - len(settings.patch_shape)]
        return result.reshape(*channels, *settings.patch_shape)

    return Patch(
        moved(patch.image, transform_image),
        moved(patch.labels, transform_labels),
        None if patch.previous is None else moved(patch.previous, transform_labels),
    )


def _mirrored(array: Tensor, axes: Sequence[int]) -> Tensor:
    return torch.flip(array, tuple(axes)) if axes else array


def _example(patch: Patch, settings: Settings, draw: CascadeDraw) -> Example:
    image = patch.image
    if patch.previous is not None:
        channels = one_hot(patch.previous, settings.labels.foreground_values)
        perturb_(channels, draw, max_share=settings.recipe.cascade_remove_max_share)
        image = torch.cat((image, channels))
    return Example(image, make_targets(patch.labels, settings.labels, shapes=settings.target_shapes))
