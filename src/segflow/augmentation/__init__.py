"""Random transforms of training patches: everything random is drawn first, then applied."""

from segflow.augmentation.geometry import initial_patch_shape, rotation_range_rad, uses_dummy_2d
from segflow.augmentation.pipeline import (
    AugmentationDraw,
    Example,
    Patch,
    Settings,
    augment,
    draw_augmentation,
    needed_box,
    plain,
)
from segflow.augmentation.targets import make_targets, target_shapes

__all__ = [
    "AugmentationDraw",
    "Example",
    "Patch",
    "Settings",
    "augment",
    "draw_augmentation",
    "initial_patch_shape",
    "make_targets",
    "needed_box",
    "plain",
    "rotation_range_rad",
    "target_shapes",
    "uses_dummy_2d",
]
