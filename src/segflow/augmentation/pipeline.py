"""All transforms, in the method's order. Source: method.md section 13."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segflow.augmentation import intensity, spatial
from segflow.augmentation import intensity as sharpness
from segflow.augmentation import targets as cascade
from segflow.augmentation.mirror import MirrorDraw, draw_mirror, mirror
from segflow.augmentation.spatial import rotation_range_rad, uses_dummy_2d
from segflow.augmentation.targets import make_targets
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
    def dummy_2d(self) -> bool:
        """A thin 3D patch is rotated, scaled and deformed in plane only."""
        return uses_dummy_2d(self.patch_shape, self.recipe)

    @property
    def n_fixed_axes(self) -> int:
        """Axes before those that are rotated, scaled and deformed."""
        return int(self.dummy_2d)


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
    """What the network is shown and what it is compared with.

    Attributes:
        image: (c, *patch), with a channel per foreground label of the previous stage in a cascade.
        targets: As of `make_targets`.
    """

    image: Tensor
    targets: list[Tensor]


@dataclass(frozen=True, kw_only=True)
class AugmentationDraw:
    """Everything random about one patch; None where a transform does not fire."""

    spatial: spatial.SpatialDraw
    noise: intensity.NoiseDraw | None
    blur: sharpness.BlurDraw | None
    brightness: intensity.FactorDraw | None
    contrast: intensity.FactorDraw | None
    low_resolution: sharpness.LowResolutionDraw | None
    gamma_inverted: intensity.FactorDraw | None
    gamma: intensity.FactorDraw | None
    mirror: MirrorDraw
    cascade: cascade.CascadeDraw


def draw_augmentation(rng: np.random.Generator, settings: Settings) -> AugmentationDraw:
    """Draw all transforms of one patch.

    Args:
        rng: Source of randomness.
        settings: Of the training.

    Source: method.md section 13.
    """
    recipe, n = settings.recipe, len(settings.patch_shape)
    channels = len(settings.zero_outside)
    draw_factors = intensity.draw_factors
    return AugmentationDraw(
        spatial=spatial.draw_spatial(
            rng,
            recipe,
            range_rad=rotation_range_rad(settings.patch_shape, recipe),
            patch_shape=settings.patch_shape[settings.n_fixed_axes :],
        ),
        noise=intensity.draw_noise(rng, recipe),
        blur=sharpness.draw_blur(rng, recipe, channels=channels, dimensions=n),
        brightness=draw_factors(rng, recipe.brightness_split, p=recipe.p_brightness, channels=channels),
        contrast=draw_factors(rng, recipe.contrast_split, p=recipe.p_contrast, channels=channels),
        low_resolution=sharpness.draw_low_resolution(rng, recipe, channels=channels),
        gamma_inverted=draw_factors(rng, recipe.gamma_split, p=recipe.p_gamma_inverted, channels=channels),
        gamma=draw_factors(rng, recipe.gamma_split, p=recipe.p_gamma, channels=channels),
        mirror=draw_mirror(rng, recipe, dimensions=n),
        cascade=_draw_cascade(rng, settings),
    )


def _draw_cascade(rng: np.random.Generator, settings: Settings) -> cascade.CascadeDraw:
    if not settings.cascade:
        return cascade.CascadeDraw()
    n_labels = len(settings.labels.foreground_values)
    return cascade.draw_cascade(rng, settings.recipe, n_labels=n_labels)


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

    Source: method.md section 13, step 2; reading less than all is ours.
    """
    k = settings.n_fixed_axes
    first, shape = spatial.source_box(
        draw.spatial, read_shape=read_shape[k:], patch_shape=settings.patch_shape[k:]
    )
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

    Returns:
        The example.

    Source: method.md section 13.
    """
    patch = _move(patch, draw, settings, read_shape)
    _change_intensities_(patch.image, draw, settings)
    n = len(settings.patch_shape)
    image, labels = (mirror(array, draw.mirror, dimensions=n) for array in (patch.image, patch.labels))
    for channel, zero in enumerate(settings.zero_outside):
        if zero:
            image[channel].masked_fill_(labels < 0, 0)
    previous = None if patch.previous is None else mirror(patch.previous, draw.mirror, dimensions=n)
    return _example(Patch(image, labels, previous), settings, draw.cascade)


def plain(patch: Patch, settings: Settings) -> Example:
    """The example without any random transform, as validation uses it.

    Args:
        patch: Of the final shape.
        settings: Of the training.

    Returns:
        The example.

    Source: method.md section 13 (validation batches).
    """
    return _example(patch, settings, cascade.CascadeDraw())


def _move(patch: Patch, draw: AugmentationDraw, settings: Settings, read_shape: Sequence[int]) -> Patch:
    """Rotate, scale and deform; fixed axes are folded into the channels for it."""
    if not draw.spatial.fires:
        return patch
    k = settings.n_fixed_axes
    first, _ = needed_box(draw, settings, read_shape=read_shape)
    centre = [(r - 1) / 2 - f for r, f in zip(read_shape[k:], first[k:], strict=True)]
    plane = settings.patch_shape[k:]
    rotated = len(plane)

    def labels_of(array: Tensor) -> Tensor:
        folded = array.reshape(-1, *array.shape[array.ndim - rotated :])
        moved = spatial.transform_labels(draw.spatial, folded, centre=centre, patch_shape=plane)
        return moved.reshape(settings.patch_shape)

    folded = patch.image.reshape(-1, *patch.image.shape[patch.image.ndim - rotated :])
    image = spatial.transform_image(draw.spatial, folded, centre=centre, patch_shape=plane)
    return Patch(
        image.reshape(len(patch.image), *settings.patch_shape),
        labels_of(patch.labels),
        None if patch.previous is None else labels_of(patch.previous),
    )


def _change_intensities_(image: Tensor, draw: AugmentationDraw, settings: Settings) -> None:
    if draw.noise is not None:
        intensity.add_noise_(image, draw.noise)
    if draw.blur is not None:
        sharpness.blur_(image, draw.blur)
    if draw.brightness is not None:
        intensity.change_brightness_(image, draw.brightness)
    if draw.contrast is not None:
        intensity.change_contrast_(image, draw.contrast)
    if draw.low_resolution is not None:
        sharpness.lower_resolution_(image, draw.low_resolution, first_axis=settings.n_fixed_axes)
    if draw.gamma_inverted is not None:
        intensity.bend_gamma_(image, draw.gamma_inverted, inverted=True)
    if draw.gamma is not None:
        intensity.bend_gamma_(image, draw.gamma, inverted=False)


def _example(patch: Patch, settings: Settings, draw: cascade.CascadeDraw) -> Example:
    image = patch.image
    if patch.previous is not None:
        channels = cascade.one_hot(patch.previous, settings.labels.foreground_values)
        cascade.perturb_(channels, draw, max_share=settings.recipe.cascade_remove_max_share)
        image = torch.cat((image, channels))
    return Example(image, make_targets(patch.labels, settings.labels, shapes=settings.target_shapes))
