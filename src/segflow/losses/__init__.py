"""What training minimises: Dice and cross-entropy, over classes or regions, at several resolutions."""

from segflow.losses.compound import ClassLoss, RegionLoss, Terms, build_loss
from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy
from segflow.losses.deep_supervision import DeepSupervisionLoss, deep_supervision_weights
from segflow.losses.dice import soft_dice_loss
from segflow.losses.parts import WHOLE, Parts
from segflow.losses.top_k import highest_mean

__all__ = [
    "WHOLE",
    "ClassLoss",
    "DeepSupervisionLoss",
    "Parts",
    "RegionLoss",
    "Terms",
    "binary_cross_entropy",
    "build_loss",
    "cross_entropy",
    "deep_supervision_weights",
    "highest_mean",
    "soft_dice_loss",
]
