"""All transforms of a training patch, in the method's order. Source: method.md section 13."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from segflow.augmentation import intensity
from segflow.augmentation.spatial import (
    SpatialDraw,
    draw_spatial,
    initial_patch_shape,
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
    "UNCHANGED",
    "AugmentationDraw",
    "Example",
    "Patch",
    "Settings",
    "augment",
    "draw_augmentation",
    "needed_box",
    "plain",
    "previous_channels",
    "source_centre",
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
    def read_shape(self) -> tuple[int, ...]:
        """Voxels that may be looked at for a training patch, around the same centre."""
        return initial_patch_shape(self.patch_shape, self.recipe)

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
    """Everything random about one patch.

    Attributes:
        spatial: Rotation, scaling and deformation.
        changes: Of the intensities, in their order: functions that change an image in place, and what they are given.
        mirror_axes: Spatial axes.
        cascade: Changes of the previous stage's labels.
    """

    spatial: SpatialDraw
    changes: tuple[tuple[Callable[[Tensor, Any], None], Any], ...]
    mirror_axes: tuple[int, ...]
    cascade: CascadeDraw


UNCHANGED: Final = AugmentationDraw(spatial=SpatialDraw(), changes=(), mirror_axes=(), cascade=CascadeDraw())


def draw_augmentation(rng: np.random.Generator, settings: Settings) -> AugmentationDraw:
    """Draw all transforms of one patch."""
    recipe, n, k = settings.recipe, len(settings.patch_shape), settings.n_fixed_axes
    channels = len(settings.zero_outside)
    draw_factors = partial(intensity.draw_factors, rng, channels=channels)
    spatial = draw_spatial(
        rng,
        recipe,
        range_rad=rotation_range_rad(settings.patch_shape, recipe),
        patch_shape=settings.patch_shape[k:],
    )
    changes: tuple[tuple[Callable[[Tensor, Any], None], Any], ...] = (
        (intensity.add_noise_, intensity.draw_noise(rng, recipe)),
        (intensity.blur_, intensity.draw_blur(rng, recipe, channels=channels, dimensions=n)),
        (intensity.change_brightness_, draw_factors(recipe.brightness_split, p=recipe.p_brightness)),
        (intensity.change_contrast_, draw_factors(recipe.contrast_split, p=recipe.p_contrast)),
        (
            intensity.lower_resolution_,
            intensity.draw_low_resolution(rng, recipe, channels=channels, first_axis=k),
        ),
        (intensity.bend_gamma_inverted_, draw_factors(recipe.gamma_split, p=recipe.p_gamma_inverted)),
        (intensity.bend_gamma_, draw_factors(recipe.gamma_split, p=recipe.p_gamma)),
    )
    return AugmentationDraw(
        spatial=spatial,
        changes=tuple((change_, drawn) for change_, drawn in changes if drawn is not None),
        mirror_axes=tuple(axis for axis in range(n) if rng.random() < recipe.p_mirror_axis),
        cascade=draw_cascade(rng, recipe, n_labels=len(settings.labels.foreground_values))
        if settings.cascade
        else CascadeDraw(),
    )


def needed_box(draw: AugmentationDraw, settings: Settings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The part of `Settings.read_shape` that the transforms look at: first voxel and shape, along all spatial axes."""
    k, read = settings.n_fixed_axes, settings.read_shape
    first, shape = source_box(draw.spatial, read_shape=read[k:], patch_shape=settings.patch_shape[k:])
    return (*(0,) * k, *first), (*read[:k], *shape)


def augment(patch: Patch, draw: AugmentationDraw, settings: Settings) -> Example:
    """Apply all transforms to the `needed_box` of a patch, whose image may be overwritten."""
    image, labels = _moved(patch.image, transform_image, draw, settings), patch.labels
    labels = _mirrored(_moved(labels, transform_labels, draw, settings), draw, settings)
    for change_, drawn in draw.changes:
        change_(image, drawn)
    image = _mirrored(image, draw, settings)
    for channel, zero in enumerate(settings.zero_outside):
        if zero:
            image[channel].masked_fill_(labels < 0, 0)
    return _example(Patch(image, labels, patch.previous), draw, settings)


def plain(patch: Patch, settings: Settings) -> Example:
    """The example without any random transform, for validation; the patch has its final shape."""
    return _example(patch, UNCHANGED, settings)


def previous_channels(previous: Tensor, draw: AugmentationDraw, settings: Settings) -> Tensor:
    """The previous stage's labels, transformed like the image and made imperfect: (foreground labels, *patch)."""
    previous = _mirrored(_moved(previous, transform_labels, draw, settings), draw, settings)
    channels = one_hot(previous, settings.labels.foreground_values)
    perturb_(channels, draw.cascade, max_share=settings.recipe.cascade_remove_max_share)
    return channels


def source_centre(draw: AugmentationDraw, settings: Settings) -> list[float]:
    """Where the patch's centre comes to lie, in voxels of the `needed_box`, along the axes that are transformed."""
    k, (first, _) = settings.n_fixed_axes, needed_box(draw, settings)
    return [(r - 1) / 2 - f for r, f in zip(settings.read_shape[k:], first[k:], strict=True)]


def _moved(
    array: Tensor, transform: Callable[..., Tensor], draw: AugmentationDraw, settings: Settings
) -> Tensor:
    """Rotate, scale and deform; fixed axes are folded into the channels for it."""
    if not draw.spatial.fires:
        return array
    plane = settings.patch_shape[settings.n_fixed_axes :]
    folded = array.reshape(-1, *array.shape[array.ndim - len(plane) :])
    result = transform(draw.spatial, folded, centre=source_centre(draw, settings), patch_shape=plane)
    return result.reshape(*array.shape[: array.ndim - len(settings.patch_shape)], *settings.patch_shape)


def _mirrored(array: Tensor, draw: AugmentationDraw, settings: Settings) -> Tensor:
    axes = [axis - len(settings.patch_shape) for axis in draw.mirror_axes]
    return torch.flip(array, axes) if axes else array


def _example(patch: Patch, draw: AugmentationDraw, settings: Settings) -> Example:
    image = patch.image
    if patch.previous is not None:
        image = torch.cat((image, previous_channels(patch.previous, draw, settings)))
    return Example(image, make_targets(patch.labels, settings.labels, shapes=settings.target_shapes))
