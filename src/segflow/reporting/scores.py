"""What was measured beyond Dice, as the page and its tables show it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from segflow.contracts.assessment import AssessedClass, Assessment, Estimate
from segflow.reporting.figures import DicePlot, Scale, common_scale, lay_out_plot

__all__ = ["METRICS", "MetricRow", "MetricTable", "confusion_shares", "metric_tables", "score_tables"]

#: Metric to heading, unit and definition.
METRICS = {
    "dice": ("Dice", "", "overlap: 2 TP / (2 TP + FP + FN)"),
    "nsd": ("NSD", "", "normalised surface Dice: share of both surfaces within a tolerance of the other one"),
    "hd95": ("HD95", "mm", "95th percentile of the distances between surfaces, the worse of both directions"),
    "assd": ("ASSD", "mm", "mean distance over both surfaces"),
    "volume": ("Volume difference", "ml", "predicted less reference volume"),
    "lesions": ("F1 per case", "", "of components that overlap by 10 % at least (intersection over union)"),
}
_MOST_TICKS = 5


@dataclass(frozen=True)
class MetricRow:
    """A class: its place among all classes, its estimate, its value in every case, and a dot for each."""

    number: int
    name: str
    found: Estimate
    values: tuple[float, ...]
    plot: DicePlot


@dataclass(frozen=True)
class MetricTable:
    """One metric of every class, on one scale."""

    name: str
    title: str
    unit: str
    meaning: str
    scale: Scale
    rows: tuple[MetricRow, ...]


def metric_tables(assessment: Assessment) -> list[MetricTable]:
    """One table per metric that some class has a value of."""
    tables = []
    for name, (title, unit, meaning) in METRICS.items():
        columns = {
            number: [(case.case, case.values[row.target][name]) for case in assessment.cases]
            for number, row in enumerate(assessment.classes)
            if name in row.metrics
        }
        values = [v for column in columns.values() for _, v in column if not math.isnan(v)]
        if values:
            scale = _scale(values) if unit else common_scale(values)
            rows = tuple(
                MetricRow(
                    number,
                    one.name,
                    one.metrics[name],
                    tuple(value for _, value in columns[number]),
                    lay_out_plot(columns[number], scale),
                )
                for number, one in enumerate(assessment.classes)
                if number in columns
            )
            tables.append(MetricTable(name, title, unit, meaning, scale, rows))
    return tables


def _scale(values: Sequence[float]) -> Scale:
    """From 0, or from below the least value, to above the greatest."""
    low, high = min(0.0, *values), max(0.0, *values)
    ticks = MaxNLocator(_MOST_TICKS).tick_values(low, high if high > low else low + 1)
    shown = tuple(float(f"{tick:.6g}") for tick in ticks)
    return Scale(low=shown[0], ticks=shown, high=shown[-1])


def confusion_shares(assessment: Assessment) -> list[tuple[str, list[tuple[int, float]]]]:
    """Name of each label value, and for each predicted one the voxels and their share of the reference's."""
    return [
        (name, [(n, n / sum(row) if sum(row) else math.nan) for n in row])
        for name, row in zip(assessment.values, assessment.confusion, strict=False)
    ]


def score_tables(assessment: Assessment | None) -> dict[str, list[dict[str, Any]]]:
    """All of it by name of a table; there may be none."""
    if assessment is None:
        return {}
    return {
        "scores": [row for one in assessment.classes for row in _scores(one, assessment.model)],
        "scores_by_case": [
            {"case": case.case, "fold": case.fold, "class": one.name} | case.values[one.target]
            for case in assessment.cases
            for one in assessment.classes
        ],
        "volumes": [
            {"class": one.name, "cases": one.agreement.n, "bias ml": one.agreement.bias}
            | dict(zip(("limit from ml", "limit to ml"), one.agreement.limits, strict=True))
            for one in assessment.classes
            if one.agreement
        ],
        "lesions": [row for one in assessment.classes for row in _lesions(one)],
        "lesion_sizes": [
            {"class": one.name, "unit": one.lesions.unit} | size.model_dump()
            for one in assessment.classes
            if one.lesions
            for size in one.lesions.sizes
        ],
        "confusion": [
            {"reference": name}
            | {f"predicted {value}": n for value, n in zip(assessment.values, row, strict=True)}
            for name, row in zip(assessment.values, assessment.confusion, strict=False)
        ],
        "calibration": [
            {"class": one.name} | each.model_dump()
            for one in assessment.classes
            if one.calibration
            for each in one.calibration.bins
        ],
        "calibration_errors": [
            {"class": one.name}
            | _columns(one.calibration.error)
            | {"with probability 0": one.calibration.error_with_zero}
            for one in assessment.classes
            if one.calibration
        ],
    }


def _scores(one: AssessedClass, model: str) -> Iterator[dict[str, Any]]:
    """Of the chosen model, of each configuration, and of each fold of the chosen model."""
    for metric, found in one.metrics.items():
        yield {"class": one.name, "metric": metric, "of": f"chosen model ({model})"} | _columns(found)
        for name, metrics in one.configurations.items():
            yield {"class": one.name, "metric": metric, "of": name} | _columns(metrics[metric])
        for fold, means in one.folds.items():
            yield {"class": one.name, "metric": metric, "of": f"fold {fold}", "mean": means[metric]}


def _columns(found: Estimate) -> dict[str, Any]:
    columns = {"mean": found.value, "std": found.std, "cases": found.n}
    quartiles = zip(("quartile 1", "median", "quartile 3"), found.quartiles, strict=False)
    return columns | {"interval from": found.interval[0], "interval to": found.interval[1]} | dict(quartiles)


def _lesions(one: AssessedClass) -> Iterator[dict[str, Any]]:
    if one.lesions is None:
        return
    for name in ("detection_rate", "precision", "f1", "false_positives_per_case"):
        found: Estimate = getattr(one.lesions, name)
        low, high = found.interval
        row = {
            "class": one.name,
            "what": name,
            "value": found.value,
            "interval from": low,
            "interval to": high,
        }
        yield row | {
            "lesions": one.lesions.lesions,
            "predicted": one.lesions.predicted,
            "cases": one.lesions.cases,
        }
