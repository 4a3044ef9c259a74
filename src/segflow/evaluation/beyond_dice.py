"""What is measured beyond Dice: which measures a data set allows, and those of one case.

They are apart from `segflow.evaluation.scores` because a model is chosen by Dice alone: a change of these repeats no
choice. Definitions, and what they are for empty masks, are in `segflow.metrics`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Mask, SpacingMm
from segflow.contracts.assessment import ASSESSED, CaseMeasures, EvaluationConfig, LesionSizes
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.labels import Labels, members
from segflow.metrics.lesions import Lesions, lesion_f1, match_lesions
from segflow.metrics.overlap import confusion_matrix, dice, target_counts, target_key
from segflow.metrics.surface import surface_distances, surface_metrics
from segflow.volumes.components import voxel_mm3
from segflow.volumes.crop import bounding_slices

__all__ = ["FURTHER_METRICS", "Measured", "Measuring", "decide_measures", "further_metrics", "measure_case"]

_SURFACE = ("hd95", "assd", "nsd")
#: Beyond Dice and IoU.
FURTHER_METRICS = (*_SURFACE, "volume", "lesions")
_MM3_PER_ML = 1000
#: The customary tolerance of the normalised surface Dice.
_TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class Measuring:
    """What is measured, and how.

    Attributes:
        measures: Some of `ASSESSED`; of one case also "iou".
        tolerances_mm: Of the normalised surface Dice, by key of the target.
        unit: Of the sizes of lesions.
        notes: What the reader should know: tolerances, and what is not measured and why.
    """

    measures: Sequence[str]
    tolerances_mm: Mapping[str, float]
    unit: str = "mm3"
    notes: tuple[str, ...] = ()

    @property
    def further(self) -> tuple[str, ...]:
        """Metrics of one case beyond Dice and IoU, in the order of `FURTHER_METRICS`."""
        return tuple(name for name in FURTHER_METRICS if name in self.measures)


def decide_measures(
    wanted: EvaluationConfig,
    labels: Labels,
    grids: Sequence[tuple[Sequence[int], SpacingMm]],
    *,
    has_spacing: bool,
) -> Measuring:
    """Decide what is measured.

    Args:
        wanted: By the configuration.
        labels: Classes or regions.
        grids: Shape and spacing of each case, (z, y, x).
        has_spacing: The spacing of every image is stored.

    Raises:
        ConfigurationError: A tolerance is given for a class that does not exist.
    """
    asked, automatic = set(wanted.metrics), wanted.metrics == "auto"
    given = _given_tolerances(wanted, labels)
    flat = bool(grids) and all(1 in shape for shape, _ in grids)
    notes, left_out = [], set[str]()
    if automatic:
        if not has_spacing:
            left_out |= {*_SURFACE, "volume"}
            notes.append("The images' spacing is not stored, so neither distances nor volumes are measured.")
        elif flat:
            left_out.add("volume")
            notes.append("The images are flat, so they have no volumes.")
    elif not has_spacing and {*_SURFACE, "volume"} & asked:
        notes.append("The images' spacing is not stored: a voxel is taken to be 1 mm wide.")
    measures = tuple(one for one in ASSESSED if one not in left_out and (automatic or one in asked))
    default = _default_tolerance(grids)
    tolerances = {key: given.get(key, default) for key in map(target_key, labels.targets)}
    if "nsd" in measures:
        notes.append(_on_tolerances(tolerances, given, labels))
    units = ("mm2", "mm3") if has_spacing else ("pixels", "voxels")
    return Measuring(measures, tolerances, units[0] if flat else units[1], tuple(notes))


def _given_tolerances(wanted: EvaluationConfig, labels: Labels) -> dict[str, float]:
    """By key of the target."""
    keys = dict(zip(labels.target_names, map(target_key, labels.targets), strict=True))
    mm = wanted.nsd_tolerance_mm
    if not isinstance(mm, dict):
        return {} if mm is None else dict.fromkeys(keys.values(), mm)
    if unknown := sorted(mm.keys() - keys.keys()):
        raise ConfigurationError(
            f"evaluation.nsd_tolerance_mm: there is no class '{unknown[0]}'; there are {', '.join(keys)}"
        )
    return {keys[name]: value for name, value in mm.items()}


def _default_tolerance(grids: Sequence[tuple[Sequence[int], SpacingMm]]) -> float:
    """2 mm, or the median over cases of the finest spacing if it is coarser: nothing finer can be told apart."""
    finest = [
        min((mm for size, mm in zip(shape, spacing, strict=True) if size > 1), default=min(spacing))
        for shape, spacing in grids
    ]
    return max(_TOLERANCE_MM, statistics.median(finest)) if finest else _TOLERANCE_MM


def _on_tolerances(tolerances: Mapping[str, float], given: Mapping[str, float], labels: Labels) -> str:
    def reason(key: str) -> str:
        if key in given:
            return "as configured"
        return (
            "the default"
            if tolerances[key] == _TOLERANCE_MM
            else "the images' finest spacing, coarser than 2 mm"
        )

    keys = list(map(target_key, labels.targets))
    said = {key: f"{tolerances[key]:.4g} mm ({reason(key)})" for key in keys}
    if len(set(said.values())) == 1:
        return f"The tolerance of NSD is {said[keys[0]]}."
    each = ", ".join(f"{name} {said[key]}" for name, key in zip(labels.target_names, keys, strict=True))
    return f"The tolerance of NSD by class: {each}."


@dataclass(frozen=True)
class Measured:
    """One target in one case.

    Attributes:
        values: By name: distances in mm, the share nsd, volume (predicted less reference, ml), lesions (F1).
        parts: What volume and lesions are made of, without ignored voxels: reference_ml and predicted_ml, NaN without a
            third axis; found, missed and false_positives.
        lesions: None if not asked for.
    """

    values: dict[str, float]
    parts: dict[str, float]
    lesions: Lesions | None


def further_metrics(
    prediction: LabelMap, reference: LabelMap, labels: Labels, spacing_mm: SpacingMm, how: Measuring
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
        result[key] = _measure_target(
            (masks[0], masks[1]), ignored, voxel_ml, spacing_mm, how, how.tolerances_mm[key]
        )
    return result


def _measure_target(
    masks: tuple[Mask, Mask],
    ignored: Mask | None,
    voxel_ml: float,
    spacing_mm: SpacingMm,
    how: Measuring,
    tolerance_mm: float,
) -> Measured:
    prediction, reference = masks
    measured = Measured(dict.fromkeys(how.further, math.nan), {}, None)
    is_there = bool(prediction.any() or reference.any())
    surfaces = [name for name in _SURFACE if name in how.further]
    if surfaces and is_there:
        distances = surface_distances(prediction, reference, spacing_mm, ignored)
        measured.values.update(surface_metrics(distances, surfaces, tolerance_mm))
    if "volume" in how.further:
        ours, theirs = (float(np.count_nonzero(mask)) * voxel_ml for mask in masks)
        measured.values["volume"] = ours - theirs if is_there else math.nan
        measured.parts.update(reference_ml=theirs, predicted_ml=ours)
    if "lesions" not in how.further:
        return measured
    lesions = match_lesions(prediction, reference, ignored)
    measured.values["lesions"] = lesion_f1(*lesions.counts)
    measured.parts.update(zip(("found", "missed", "false_positives"), lesions.counts, strict=True))
    return replace(measured, lesions=lesions)


def _box(prediction: LabelMap, reference: LabelMap) -> tuple[slice, ...]:
    """Where there is foreground, and a voxel more on each side: no surface changes, no axis becomes a single voxel."""
    foreground = (prediction != 0) | (reference != 0)
    if not foreground.any():
        return (slice(0, 2),) * foreground.ndim
    return tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in bounding_slices(foreground))


def measure_case(
    final: LabelMap,
    configurations: Mapping[str, LabelMap],
    reference: LabelMap,
    labels: Labels,
    spacing_mm: SpacingMm,
    how: Measuring,
) -> CaseMeasures:
    """Measure the label maps of one case, all (z, y, x) of the same shape.

    Args:
        final: Of the chosen model, after post-processing.
        configurations: Of each configuration.
        reference: Annotated.
        labels: Classes or regions.
        spacing_mm: Of all of them.
        how: What to measure.

    Raises:
        PredictionError: The shapes differ.
    """
    values, lesions, confusion = _measure_maps(final, reference, labels, spacing_mm, how)
    mm3 = voxel_mm3(reference.shape, spacing_mm)
    metrics_alone = {"dice", *how.further}
    others = {}
    for name, found in configurations.items():
        same = np.array_equal(found, final)
        own = values if same else _measure_maps(found, reference, labels, spacing_mm, how)[0]
        others[name] = {key: {m: v for m, v in row.items() if m in metrics_alone} for key, row in own.items()}
    return CaseMeasures(
        values=values,
        configurations=others,
        lesions={key: _sizes(found, mm3) for key, found in lesions.items()},
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def _measure_maps(
    found: LabelMap, reference: LabelMap, labels: Labels, spacing_mm: SpacingMm, how: Measuring
) -> tuple[dict[str, dict[str, float]], dict[str, Lesions], NDArray[np.int64]]:
    confusion = confusion_matrix(reference, found, labels)
    measured = further_metrics(found, reference, labels, spacing_mm, how) if how.further else {}
    values: dict[str, dict[str, float]] = {}
    for target in labels.targets:
        key = target_key(target)
        values[key] = {"dice": dice(target_counts(confusion, target))}
        if key in measured:
            values[key] |= measured[key].values | measured[key].parts
    return values, {key: own.lesions for key, own in measured.items() if own.lesions is not None}, confusion


def _sizes(lesions: Lesions, mm3: float) -> LesionSizes:
    return LesionSizes(
        reference=tuple((lesions.reference * mm3).tolist()),
        found=tuple(lesions.found.tolist()),
        false_positives=tuple((lesions.predicted[~lesions.matched] * mm3).tolist()),
    )
