"""Fixed parameters of augmentation. Source: method.md sections 12.1 and 13."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from segflow.contracts.codec import Contract

__all__ = ["AugmentationRecipe"]

Range = tuple[float, float]
Share = Annotated[float, Field(ge=0, le=1)]
#: Distance of the nodes of a deformation, as a share of the longest edge: below, they would be too many.
NodeDistance = Annotated[float, Field(ge=0.02, le=1)]
#: Displacement of a node, as a share of that distance: above, a deformation could fold.
NodeShift = Annotated[float, Field(ge=0, le=0.4)]


class AugmentationRecipe(Contract):
    """Probability and range of every transform, in the order they are applied.

    `p_*` is the probability per patch, `p_*_channel` that of each channel once the transform fires.
    Angles are in degrees, and images are interpolated linearly.
    A `*_split` range is drawn from its part below 1 or above 1 with equal probability.
    `elastic_scale` is the distance of the nodes of a deformation as a share of the patch's longest edge, and
    `elastic_magnitude` how far a node may move, as a share of that distance.
    """

    rotation_3d_deg: float = 30.0
    rotation_2d_deg: float = 180.0
    rotation_2d_elongated_deg: float = 15.0
    elongated_ratio: float = 1.5
    anisotropy_ratio: float = 3.0
    p_rotation: float = 0.2
    p_scaling: float = 0.2
    scaling: Range = (0.7, 1.4)
    p_elastic: Share = 0.0
    elastic_scale: tuple[NodeDistance, NodeDistance] = (0.1, 0.25)
    elastic_magnitude: tuple[NodeShift, NodeShift] = (0.0, 0.25)
    p_noise: float = 0.1
    noise_std: Range = (0.0, 0.1)
    p_blur: float = 0.2
    p_blur_channel: float = 0.5
    blur_sigma: Range = (0.5, 1.0)
    p_brightness: float = 0.15
    brightness_split: Range = (0.75, 1.25)
    p_contrast: float = 0.15
    contrast_split: Range = (0.75, 1.25)
    p_low_resolution: float = 0.25
    p_low_resolution_channel: float = 0.5
    low_resolution: Range = (0.5, 1.0)
    p_gamma_inverted: float = 0.1
    p_gamma: float = 0.3
    gamma_split: Range = (0.7, 1.5)
    p_mirror_axis: float = 0.5
    p_cascade_morphology: float = 0.4
    p_cascade_morphology_label: float = 0.5
    cascade_radius: Range = (1.0, 8.0)
    p_cascade_remove: float = 0.2
    p_cascade_remove_label: float = 0.5
    cascade_remove_max_share: float = 0.15
