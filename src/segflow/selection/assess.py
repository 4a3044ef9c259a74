"""How good the chosen model is, beyond Dice: each case measured, and all cases summed up. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.assessment import (
    ASSESSED,
    Agreement,
    AssessedClass,
    Bin,
    Calibration,
    CaseMeasures,
    Estimate,
    LesionSizes,
)
from segflow.contracts.labels import Labels, Target
from segflow.metrics.calibration import BINS, calibration_error
from segflow.metrics.lesions import Lesions
from segflow.metrics.overlap import confusion_matrix, dice, nan_mean, target_counts, target_key
from segflow.metrics.volume import limits_of_agreement
from segflow.selection.bootstrap import draw_cases, interval, ratio
from segflow.selection.further import FURTHER_METRICS, Further, further_metrics
from segflow.selection.lesion_summary import comes_in_components, sum_up_lesions
from segflow.selection.measures import Measuring
from segflow.volumes.components import voxel_mm3

__all__ = ["measure_case", "sum_up", "value_names"]

_PER_CASE = [name for name in ASSESSED if name in {"dice", *FURTHER_METRICS}]


def measure_case(
    final: LabelMap,
    configurations: Mapping[str, LabelMap],
    reference: LabelMap,
    labels: Labels,
    spacing_mm: SpacingMm,
    wanted: Further,
) -> CaseMeasures:
    """Measure the label maps of one case, all (z, y, x) of the same shape.

    Args:
        final: Of the chosen model, after post-processing.
        configurations: Of each configuration.
        reference: Annotated.
        labels: Classes or regions.
        spacing_mm: Of all of them.
        wanted: Metrics beside Dice.

    Raises:
        PredictionError: The shapes differ.
    """
    values, lesions, confusion = _measure(final, reference, labels, spacing_mm, wanted)
    mm3 = voxel_mm3(reference.shape, spacing_mm)
    metrics_alone = {"dice", *wanted.metrics}
    others = {}
    for name, found in configurations.items():
        same = np.array_equal(found, final)
        own = values if same else _measure(found, reference, labels, spacing_mm, wanted)[0]
        others[name] = {key: {m: v for m, v in row.items() if m in metrics_alone} for key, row in own.items()}
    return CaseMeasures(
        values=values,
        configurations=others,
        lesions={key: _sizes(found, mm3) for key, found in lesions.items()},
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def _measure(
    found: LabelMap, reference: LabelMap, labels: Labels, spacing_mm: SpacingMm, wanted: Further
) -> tuple[dict[str, dict[str, float]], dict[str, Lesions], NDArray[np.int64]]:
    confusion = confusion_matrix(reference, found, labels)
    measured = further_metrics(found, reference, labels, spacing_mm, wanted) if wanted.metrics else {}
    values: dict[str, dict[str, float]] = {}
    for target in labels.targets:
        key = target_key(target)
        row = {"dice": dice(target_counts(confusion, target))}
        if key in measured:
            own = measured[key]
            row |= own.values
            if "volume" in own.values:
                row |= dict(zip(("reference_ml", "predicted_ml"), own.volumes_ml, strict=True))
            if own.lesions is not None:
                row |= dict(zip(("found", "missed", "false_positives"), own.lesions.counts, strict=True))
        values[key] = row
    return values, {key: own.lesions for key, own in measured.items() if own.lesions is not None}, confusion


def _sizes(lesions: Lesions, mm3: float) -> LesionSizes:
    sizes, numbers = np.unique(lesions.reference, return_inverse=True)
    found = np.bincount(numbers, weights=lesions.found, minlength=len(sizes)).astype(int)
    false_positives, times = np.unique(lesions.predicted[~lesions.matched], return_counts=True)
    rows = zip(
        (sizes * mm3).tolist(),
        np.bincount(numbers, minlength=len(sizes)).tolist(),
        found.tolist(),
        strict=True,
    )
    return LesionSizes(
        reference=tuple(rows),
        false_positives=tuple(zip((false_positives * mm3).tolist(), times.tolist(), strict=True)),
    )


def value_names(labels: Labels) -> tuple[str, ...]:
    """A name for each label value, background first: its class's, or "label 2" where only regions have names."""
    names = {target: name for name, target in labels.entries if isinstance(target, int)}
    names |= {
        target[0]: name for name, target in labels.entries if isinstance(target, tuple) and len(target) == 1
    }
    return tuple(names.get(value, f"label {value}") for value in labels.values)


@dataclass(frozen=True)
class _Cases:
    """All cases, and how often each is in every replicate; the rest as in `sum_up`."""

    measures: Sequence[CaseMeasures]
    folds: Sequence[str]
    times: NDArray[np.float64]
    how: Measuring

    def column(self, key: str, name: str, configuration: str | None = None) -> NDArray[np.float64]:
        """A metric of one target, (case,)."""
        tables = [
            one.values if configuration is None else one.configurations[configuration]
            for one in self.measures
        ]
        return np.array([table[key][name] for table in tables], dtype=np.float64)

    def mean(self, values: NDArray[np.float64]) -> Estimate:
        """Over the cases in which it is defined."""
        defined = ~np.isnan(values)
        kept = values[defined]
        part = self.times @ np.where(defined, values, 0.0)
        return Estimate(
            value=float(kept.mean()) if kept.size else math.nan,
            interval=interval(ratio(part, self.times @ defined.astype(np.float64))),
            n=int(kept.size),
            std=float(kept.std(ddof=1)) if kept.size > 1 else math.nan,
            quartiles=tuple(np.percentile(kept, (25, 50, 75)).tolist()) if kept.size else (),
        )


def sum_up(
    measures: Sequence[CaseMeasures],
    folds: Sequence[str],
    labels: Labels,
    how: Measuring,
    patients: Sequence[str] | None = None,
) -> tuple[AssessedClass, ...]:
    """Sum up all cases, class by class.

    Args:
        measures: One per case; there may be none.
        folds: The fold of each.
        labels: Classes or regions.
        how: What was measured.
        patients: Whose each case is, if that is known: these are resampled then.
    """
    times = draw_cases(len(measures), patients) if measures else np.zeros((1, 0))
    cases = _Cases(measures, folds, times, how)
    rows = enumerate(zip(labels.target_names, labels.targets, strict=True))
    return tuple(_class(cases, number, name, target) for number, (name, target) in rows)


def _class(cases: _Cases, number: int, name: str, target: Target) -> AssessedClass:
    key = target_key(target)
    lesions = [one.lesions[key] for one in cases.measures if key in one.lesions]
    in_components = comes_in_components(lesions)
    metrics = [metric for metric in _PER_CASE if metric in cases.how.measures]
    shown = [metric for metric in metrics if metric != "lesions" or in_components]
    of_fold = {fold: np.array([own == fold for own in cases.folds]) for fold in dict.fromkeys(cases.folds)}
    columns = {metric: cases.column(key, metric) for metric in shown}
    configurations = cases.measures[0].configurations if cases.measures else {}
    return AssessedClass(
        target=key,
        name=name,
        nsd_tolerance_mm=cases.how.tolerances_mm[key] if "nsd" in metrics else None,
        metrics={metric: cases.mean(column) for metric, column in columns.items()},
        folds={
            fold: {metric: nan_mean(column[own]) for metric, column in columns.items()}
            for fold, own in of_fold.items()
        },
        configurations={
            one: {metric: cases.mean(cases.column(key, metric, one)) for metric in shown}
            for one in configurations
        },
        agreement=_agreement(columns["volume"]) if "volume" in columns else None,
        lesions=sum_up_lesions(lesions, cases.times, cases.how.unit) if in_components else None,
        calibration=_calibration(cases, number),
    )


def _agreement(differences: NDArray[np.float64]) -> Agreement | None:
    bias, low, high = limits_of_agreement(differences.tolist())
    n = int((~np.isnan(differences)).sum())
    return Agreement(n=n, bias=bias, limits=(low, high)) if n else None


def _calibration(cases: _Cases, number: int) -> Calibration | None:
    tables = [one.calibration[number] for one in cases.measures if one.calibration]
    if len(tables) < len(cases.measures) or not tables:
        return None
    by_case = np.array(tables, dtype=np.float64)
    total = by_case.sum(axis=0)
    resampled = np.tensordot(cases.times, by_case, axes=1)
    bins = []
    for place, (voxels, probability, share) in enumerate(total[1:].tolist()):
        if voxels:
            bounds = {"low": place / BINS, "high": (place + 1) / BINS, "voxels": int(voxels)}
            bins.append(Bin(**bounds, probability=probability / (2 * 255 * voxels), share=share / voxels))
    error = Estimate(
        value=float(calibration_error(total)),
        interval=interval(calibration_error(resampled)),
        n=len(tables),
        std=math.nan,
    )
    return Calibration(
        error=error, error_with_zero=float(calibration_error(total, with_zero=True)), bins=tuple(bins)
    )
