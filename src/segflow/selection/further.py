"""Metrics on request: surface distances, volumes and lesions.

They are apart from `segflow.selection.evaluate` because a model is chosen by Dice alone: a change of these repeats no
choice. Definitions, and what they are for empty masks, are in `segflow.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segflow.contracts.arrays import LabelMap, Mask, SpacingMm
from segflow.contracts.labels import Labels, members
from segflow.metrics.lesions import Lesions, lesion_f1, match_lesions
from segflow.metrics.overlap import target_key
from segflow.metrics.surface import surface_distances, surface_metrics
from segflow.volumes.components import voxel_mm3
from segflow.volumes.crop import bounding_slices

__all__ = ["FURTHER_METRICS", "Further", "Measured", "further_metrics"]

_SURFACE = ("hd95", "assd", "nsd")
#: Beyond Dice and IoU.
FURTHER_METRICS = (*_SURFACE, "volume", "lesions")
_MM3_PER_ML = 1000


@dataclass(frozen=True)
class Further:
    """Which metrics to measure.

    Attributes:
        metrics: Names from `FURTHER_METRICS`.
        tolerances_mm: Of the normalised surface Dice, by key of the target.
    """

    metrics: tuple[str, ...]
    tolerances_mm: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """One target in one case.

    Attributes:
        values: By name: distances in mm, the share nsd, volume (predicted less reference, ml), lesions (F1).
        volumes_ml: Of reference and prediction, without ignored voxels; NaN without a third axis.
        lesions: None if not asked for.
    """

    values: dict[str, float]
    volumes_ml: tuple[float, float]
    lesions: Lesions | None


def further_metrics(
    prediction: LabelMap, reference: LabelMap, labels: Labels, spacing_mm: SpacingMm, wanted: Further
) -> dict[str, Measured]:
    """Measure every target of two label maps (z, y, x) of the same shape, by its key."""
    voxel_ml = math.nan if 1 in prediction.shape else voxel_mm3(prediction.shape, spacing_mm) / _MM3_PER_ML
    box = _box(prediction, reference)
    found, true = prediction[box], reference[box]
    ignored = None if labels.ignore is None else true == labels.ignore
    result = {}
    for target in labels.targets:
        key, values = target_key(target), members(target)
        masks = [np.isin(one, values) for one in (found, true)]
        if ignored is not None:
            masks[0] &= ~ignored
        result[key] = _measure(
            (masks[0], masks[1]), ignored, voxel_ml, spacing_mm, wanted, wanted.tolerances_mm[key]
        )
    return result


def _measure(
    masks: tuple[Mask, Mask],
    ignored: Mask | None,
    voxel_ml: float,
    spacing_mm: SpacingMm,
    wanted: Further,
    tolerance_mm: float,
) -> Measured:
    prediction, reference = masks
    ours, theirs = (float(np.count_nonzero(mask)) * voxel_ml for mask in masks)
    if not (prediction.any() or reference.any()):
        nothing = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        lesions = Lesions(*nothing, *nothing) if "lesions" in wanted.metrics else None
        return Measured(dict.fromkeys(wanted.metrics, math.nan), (theirs, ours), lesions)
    surfaces = [name for name in _SURFACE if name in wanted.metrics]
    values = {}
    if surfaces:
        distances = surface_distances(prediction, reference, spacing_mm, ignored)
        values = surface_metrics(distances, surfaces, tolerance_mm)
    if "volume" in wanted.metrics:
        values["volume"] = ours - theirs
    lesions = match_lesions(prediction, reference, ignored) if "lesions" in wanted.metrics else None
    if lesions is not None:
        values["lesions"] = lesion_f1(*lesions.counts)
    return Measured(values, (theirs, ours), lesions)


def _box(prediction: LabelMap, reference: LabelMap) -> tuple[slice, ...]:
    """Where there is foreground, and a voxel more on each side: no surface changes, no axis becomes a single voxel."""
    foreground = (prediction != 0) | (reference != 0)
    if not foreground.any():
        return (slice(0, 2),) * foreground.ndim
    return tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in bounding_slices(foreground))
