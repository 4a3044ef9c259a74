"""Fixed parameters of augmentation. Source: method.md sections 12.1 and 13."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["AugmentationRecipe"]

Range = tuple[float, float]


class AugmentationRecipe(Contract):
    """Probability and range of every transform, in the order they are applied.

    `p_*` is the probability per patch, `p_*_channel` that of each channel once the transform fires.
    Angles are in degrees. A `*_split` range is drawn from its part below 1 or above 1 with equal probability.
    """

    rotation_3d_deg: float = 30.0
    rotation_2d_deg: float = 180.0
    rotation_2d_elongated_deg: float = 15.0
    elongated_ratio: float = 1.5
    anisotropy_ratio: float = 3.0
    p_rotation: float = 0.2
    p_scaling: float = 0.2
    scaling: Range = (0.7, 1.4)
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
