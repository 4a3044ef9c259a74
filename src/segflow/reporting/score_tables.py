"""Tables of what was measured beyond Dice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from segflow.contracts.assessment import AssessedClass, Assessment, Estimate
from segflow.reporting.data import ReportData
from segflow.reporting.figures import class_colours
from segflow.reporting.table import Column, Row, Table, field, interval_text, mean_columns, row_text
from segflow.reporting.text import ABSENT, dice_text, number_text, percent_text

__all__ = ["METRICS", "means_by_part", "score_tables"]

#: Metric to heading, unit and definition.
METRICS = {
    "dice": ("Dice", "", "overlap: 2 TP / (2 TP + FP + FN)"),
    "nsd": ("NSD", "", "normalised surface Dice: share of both surfaces within a tolerance of the other one"),
    "hd95": ("HD95", "mm", "95th percentile of the distances between surfaces, the worse of both directions"),
    "assd": ("ASSD", "mm", "mean distance over both surfaces"),
    "volume": ("Volume difference", "ml", "predicted less reference volume"),
    "lesions": ("F1 per case", "", "of components that overlap by 10 % at least (intersection over union)"),
}


def score_tables(data: ReportData, assessment: Assessment) -> dict[str, Table]:
    """All of them by name."""
    classes, kind = assessment.classes, data.kind
    colours = class_colours(data.labels.target_names)
    of_class = Column(kind, field("class"), "nowrap")
    scores = [row for one in classes for row in _scores(one)]
    volumes = [
        {"class": one.name, "cases": one.agreement.n, "bias ml": one.agreement.bias}
        | dict(zip(("limit from ml", "limit to ml"), one.agreement.limits, strict=True))
        for one in classes
        if one.agreement
    ]
    errors = [
        {"class": one.name}
        | _columns(one.calibration.error)
        | {"with probability 0": one.calibration.error_with_zero}
        for one in classes
        if one.calibration
    ]
    return {
        "scores": Table(scores, mean_columns(kind, colours, len(assessment.cases))),
        "means": means_by_part(scores, kind),
        "scores_by_case": Table(
            [
                {"case": case.case, "fold": case.fold, "class": one.name} | case.values[one.target]
                for case in assessment.cases
                for one in classes
            ]
        ),
        "lesions": Table(
            [row for one in classes for row in _lesions(one)],
            (
                Column("Over all cases", field("what"), ""),
                Column("Value", field("value", dice_text), "n strong"),
                Column("95 % interval", interval_text),
            ),
        ),
        "lesion_sizes": Table(
            [
                {"class": one.name, "unit": one.lesions.unit} | size.model_dump()
                for one in classes
                if one.lesions
                for size in one.lesions.sizes
            ],
            (
                Column("Size", _size_text, "nowrap"),
                Column("Components", field("lesions", number_text)),
                Column("Found", field("found", number_text)),
                Column("Detection rate", field("detection_rate", dice_text)),
                Column("False positives", field("false_positives", number_text)),
                Column("per case", field("false_positives_per_case", dice_text)),
            ),
        ),
        "confusion": _confusion(assessment),
        "volumes": Table(
            volumes,
            (
                of_class,
                Column("Cases", field("cases", number_text)),
                Column("Bias, ml", field("bias ml", number_text), "n strong"),
                Column("Limits of agreement, ml", _limits),
            ),
        ),
        "calibration": Table(
            [
                {"class": one.name} | each.model_dump()
                for one in classes
                if one.calibration
                for each in one.calibration.bins
            ]
        ),
        "calibration_errors": Table(
            errors,
            (
                of_class,
                Column("Expected calibration error", field("mean", dice_text), "n strong"),
                Column("95 % interval", interval_text),
                Column("Over all voxels", field("with probability 0", dice_text)),
            ),
        ),
    }


def means_by_part(scores: Sequence[Row], kind: str) -> Table:
    """The table of scores with a row per class and metric: of the chosen model, each configuration, each fold."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in scores:
        about = {name: row[name] for name in ("class", "metric", "unit")}
        rows.setdefault((row["class"], row["metric"]), about)[row["of"]] = row

    def part(of: str) -> Column:
        def text(row: Row) -> tuple[str, str]:
            return row_text(row)(row[of]["mean"]), interval_text(row[of], row_text(row))

        return Column(f"{of[0].upper()}{of[1:]}", text)

    columns = (
        Column(kind, field("class"), ""),
        Column("Metric", lambda row: (METRICS[row["metric"]][0], row["unit"]), "nowrap"),
        *(part(of) for of in dict.fromkeys(row["of"] for row in scores)),
    )
    return Table(list(rows.values()), columns, shows="scores")


def _scores(one: AssessedClass) -> Iterator[Row]:
    """Of the chosen model, of each configuration, and of each fold of the chosen model."""
    for metric, found in one.metrics.items():
        about = {"class": one.name, "metric": metric, "unit": METRICS[metric][1]}
        yield about | {"of": "chosen model"} | _columns(found)
        for name, metrics in one.configurations.items():
            yield about | {"of": name} | _columns(metrics[metric])
        for fold, means in sorted(one.folds.items()):
            yield about | {"of": f"fold {fold}", "mean": means[metric]}


def _columns(found: Estimate) -> dict[str, Any]:
    columns = {"mean": found.value, "std": found.std, "cases": found.n}
    quartiles = zip(("quartile 1", "median", "quartile 3"), found.quartiles, strict=False)
    return columns | {"interval from": found.interval[0], "interval to": found.interval[1]} | dict(quartiles)


def _lesions(one: AssessedClass) -> Iterator[Row]:
    if one.lesions is None:
        return
    for what, found in (
        ("Detection rate", one.lesions.detection_rate),
        ("Precision", one.lesions.precision),
        ("F1", one.lesions.f1),
        ("False positives per case", one.lesions.false_positives_per_case),
    ):
        low, high = found.interval
        yield {
            "class": one.name,
            "what": what,
            "value": found.value,
            "interval from": low,
            "interval to": high,
        } | {
            "lesions": one.lesions.lesions,
            "predicted": one.lesions.predicted,
            "cases": one.lesions.cases,
        }


def _limits(row: Row) -> str:
    return f"{number_text(row['limit from ml'])} to {number_text(row['limit to ml'])}"


def _size_text(row: Row) -> str:
    low, high = (number_text(math.nan if row[name] is None else row[name]) for name in ("low", "high"))
    unit = row["unit"].replace("2", "\N{SUPERSCRIPT TWO}").replace("3", "\N{SUPERSCRIPT THREE}")
    if low == ABSENT:
        return f"below {high} {unit}"
    return f"{low} {unit} and more" if high == ABSENT else f"{low} to {high} {unit}"


def _confusion(assessment: Assessment) -> Table:
    """Annotated voxels of all cases by label value, with their share of the row."""
    headings = [f"predicted {name}" for name in assessment.values]
    rows = [
        {"reference": name} | dict(zip(headings, counts, strict=True))
        for name, counts in zip(assessment.values, assessment.confusion, strict=False)
    ]

    def share(row: Row, heading: str) -> float:
        total = sum(row[each] for each in headings)
        return row[heading] / total if total else math.nan

    def predicted(heading: str) -> Column:
        return Column(
            heading,
            lambda row: (number_text(row[heading]), percent_text(share(row, heading))),
            "n tinted",
            lambda row: f"--share: {share(row, heading):.4f}",
        )

    return Table(rows, (Column("In the reference", field("reference"), ""), *map(predicted, headings)))
