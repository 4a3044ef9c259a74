"""Overlap of two label maps: counts of voxels, and Dice and IoU from them.

Distances of their surfaces are in `segflow.metrics.surface`, which needs scipy and is not passed on here.
"""

from segflow.metrics.counts import Counts, confusion_matrix, members, target_counts, target_key
from segflow.metrics.overlap import dice, iou, mean_metrics, nan_mean, overlap_metrics

__all__ = [
    "Counts",
    "confusion_matrix",
    "dice",
    "iou",
    "mean_metrics",
    "members",
    "nan_mean",
    "overlap_metrics",
    "target_counts",
    "target_key",
]
