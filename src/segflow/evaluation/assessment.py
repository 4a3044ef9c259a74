"""What was measured beyond Dice, of all cases together: means with their intervals, lesions, agreement, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.assessment import (
    ASSESSED,
    Agreement,
    AssessedClass,
    Bin,
    Calibration,
    CaseMeasures,
    Estimate,
    LesionSizes,
    LesionSummary,
    SizeGroup,
)
from segflow.contracts.labels import Labels, Target
from segflow.evaluation.beyond_dice import FURTHER_METRICS, Measuring
from segflow.metrics.bootstrap import draw_cases, interval, ratio
from segflow.metrics.calibration import BINS, calibration_error
from segflow.metrics.overlap import nan_mean, target_key

__all__ = ["agreement", "comes_in_components", "sum_up", "sum_up_lesions", "value_names"]

_PER_CASE = [name for name in ASSESSED if name in {"dice", *FURTHER_METRICS}]
#: Share of the cases with the class, from which on it is one that comes in components.
_SHARE_OF_CASES = 0.5
#: Standard deviations from the bias to either limit: 95 % of normally distributed differences lie between them.
_LIMITS = 1.96


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
        agreement=agreement(columns["volume"]) if "volume" in columns else None,
        lesions=sum_up_lesions(lesions, cases.times, cases.how.unit) if in_components else None,
        calibration=_calibration(cases, number),
    )


def agreement(differences: NDArray[np.float64]) -> Agreement | None:
    """Bias and limits of agreement of differences, in ml; NaN is left out, and of a single one there are no limits.

    Source: Bland & Altman 1986.
    """
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return None
    bias = float(defined.mean())
    half = _LIMITS * float(defined.std(ddof=1)) if defined.size > 1 else math.nan
    return Agreement(n=defined.size, bias=bias, limits=(bias - half, bias + half))


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


def comes_in_components(cases: Sequence[LesionSizes]) -> bool:
    """Whether the reference has two or more components in at least half of the cases in which it has any."""
    counts = np.array([len(case.reference) for case in cases])
    occurring = counts[counts > 0]
    return bool(occurring.size) and bool((occurring > 1).mean() >= _SHARE_OF_CASES)


def sum_up_lesions(cases: Sequence[LesionSizes], times: NDArray[np.float64], unit: str) -> LesionSummary:
    """Detection rate, precision, F1 and false positives per case: ratios of sums over the cases.

    Args:
        cases: One per case.
        times: How often each is in a replicate of the bootstrap, (replicate, case).
        unit: Of the sizes.
    """
    counts = np.array(
        [(len(one.reference), sum(one.found), len(one.false_positives)) for one in cases], dtype=np.float64
    )
    n_all, found, false_positives = counts.T

    def estimate(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Estimate:
        value = float(ratio(part.sum(keepdims=True), whole.sum(keepdims=True))[0])
        return Estimate(
            value=value,
            interval=interval(ratio(times @ part, times @ whole)),
            n=int((whole > 0).sum()),
            std=math.nan,
        )

    return LesionSummary(
        cases=len(cases),
        lesions=int(n_all.sum()),
        predicted=int((found + false_positives).sum()),
        detection_rate=estimate(found, n_all),
        precision=estimate(found, found + false_positives),
        f1=estimate(2 * found, n_all + found + false_positives),
        false_positives_per_case=estimate(false_positives, np.ones(len(cases))),
        unit=unit,
        sizes=_groups(cases),
    )


def _groups(cases: Sequence[LesionSizes]) -> tuple[SizeGroup, ...]:
    """Four groups of sizes, bounded by the quartiles of the reference's; fewer where these coincide."""
    sizes = np.array([size for case in cases for size in case.reference])
    is_found = np.array([found for case in cases for found in case.found], dtype=np.bool_)
    wrong = np.array([size for case in cases for size in case.false_positives])
    bounds = np.unique(np.percentile(sizes, (25, 50, 75), method="inverted_cdf"))
    groups = []
    for place in range(len(bounds) + 1):
        own = np.searchsorted(bounds, sizes, side="right") == place
        n, found = int(own.sum()), int((own & is_found).sum())
        false = int((np.searchsorted(bounds, wrong, side="right") == place).sum())
        if not (n or false):
            continue
        groups.append(
            SizeGroup(
                low=float(bounds[place - 1]) if place else None,
                high=float(bounds[place]) if place < len(bounds) else None,
                lesions=int(n),
                found=int(found),
                detection_rate=found / n if n else math.nan,
                false_positives=int(false),
                false_positives_per_case=false / len(cases),
            )
        )
    return tuple(groups)
