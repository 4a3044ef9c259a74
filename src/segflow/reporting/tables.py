"""The tables of the page with all their digits, for CSV files."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from segflow.contracts.plan import Configuration
from segflow.metrics.overlap import nan_mean, target_key
from segflow.reporting.data import ReportData
from segflow.reporting.scores import score_tables
from segflow.reporting.text import mean_dice, spreads
from segflow.storage.files import cell_text

__all__ = ["Row", "case_dice", "csv_text", "feature_map_shapes", "patient_dice", "tables"]

#: Heading to cell; None and NaN are empty.
Row = Mapping[str, Any]


def csv_text(rows: Sequence[Row]) -> str:
    """A table as CSV, in which no name is a formula of a spreadsheet."""
    cells = [{_cell(name): _cell(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(cells).to_csv(index=False, lineterminator="\n") if cells else ""


def _cell(value: Any) -> Any:
    return cell_text(value) if isinstance(value, str) else value


def tables(data: ReportData) -> dict[str, Sequence[Row]]:
    """All tables by name. Headings that hold a label begin with another word, so that none is there twice."""
    return {
        "classes": _classes(data),
        "candidates": _candidates(data),
        "postprocessing": _postprocessing(data),
        "cases": _dice_rows("case", data, case_dice(data)),
        "patients": _dice_rows("patient", data, patient_dice(data)),
        "measures": _measures(data),
        "training": _training(data),
        "plan": _plan(data),
        "stages": _stages(data),
        "sizes": _sizes(data),
        "intensities": _intensities(data),
        "time": [
            {"stage": s.name, "jobs": s.jobs, "seconds": s.seconds, "forecast seconds": s.forecast_s}
            for s in data.stages
        ],
        **score_tables(data.assessment),
        "provenance": [{"what": what, "value": value} for what, value in data.provenance],
    }


def _classes(data: ReportData) -> list[Row]:
    """One row per class or region."""
    return [
        {"name": row.name, "mean dice": row.mean, "std dice": row.std, "cases": row.n}
        for row in spreads(data.summary, data.labels)
    ]


def _candidates(data: ReportData) -> list[Row]:
    bootstrap = data.selection.bootstrap
    resampled = {} if bootstrap is None else {one.name: one for one in bootstrap.candidates}
    rows: list[Row] = []
    for candidate in data.selection.candidates:
        row: dict[str, Any] = {
            "model": candidate.name,
            "chosen": "yes" if candidate.name == data.selection.best.name else "no",
            "mean dice": candidate.foreground_mean_dice,
        }
        if scores := data.candidate_summaries.get(candidate.name):
            row |= {
                f"dice {name}": scores.mean[target_key(target)].dice
                for name, target in zip(data.labels.target_names, data.labels.targets, strict=True)
            }
        if found := resampled.get(candidate.name):
            row |= {"interval from": found.interval[0], "interval to": found.interval[1]}
            row |= {f"share of rank {n}": share for n, share in enumerate(found.rank_shares, 1)}
        rows.append(row)
    return rows


def _postprocessing(data: ReportData) -> list[Row]:
    names = {
        target_key(t): name for t, name in zip(data.labels.targets, data.labels.target_names, strict=True)
    }
    found = data.postprocessing
    steps = [
        {
            "step": step.operation.description,
            "target": names.get(step.target, "whole foreground"),
            "dice before": step.dice_before,
            "dice after": step.dice_after,
            "change": step.dice_after - step.dice_before,
            "decision": "accepted" if step.accepted else "not used",
        }
        for step in found.steps
    ]
    before, after = found.foreground_mean_dice_before, found.foreground_mean_dice_after
    return [
        *steps,
        {"step": "all accepted steps", "target": "mean", "dice before": before, "dice after": after},
    ]


def case_dice(data: ReportData) -> list[tuple[str, list[float], float]]:
    """Name of every case, Dice of each target and their mean; NaN where it was not predicted."""
    keys = [target_key(target) for target in data.labels.targets]
    scored = [
        (
            case.file_name.removesuffix(data.file_ending),
            [case.metrics[key].dice for key in keys],
            mean_dice(case),
        )
        for case in data.summary.metric_per_case
    ]
    unknown = [fact.case for fact in data.gallery.facts if not fact.predicted]
    return [*scored, *((name, [math.nan] * len(keys), math.nan) for name in unknown)]


def patient_dice(data: ReportData) -> list[tuple[str, list[float], float]]:
    """The same of every patient, as means over the cases of each; none where the patients are not known."""
    patients = data.summary.patients or {}
    cases: dict[str, list[tuple[list[float], float]]] = defaultdict(list)
    for name, dice, mean in case_dice(data):
        if f"{name}{data.file_ending}" in patients:
            cases[patients[f"{name}{data.file_ending}"]].append((dice, mean))
    return [
        (patient, [nan_mean(column) for column in zip(*dice, strict=True)], nan_mean(means))
        for patient, (dice, means) in ((name, zip(*own, strict=True)) for name, own in sorted(cases.items()))
    ]


def _dice_rows(what: str, data: ReportData, rows: Sequence[tuple[str, list[float], float]]) -> list[Row]:
    headings = [f"dice {name}" for name in data.labels.target_names]
    return [
        {what: name, "mean dice": mean} | dict(zip(headings, dice, strict=True)) for name, dice, mean in rows
    ]


def _measures(data: ReportData) -> list[Row]:
    """Spacing, size, intensities and volumes of every case."""
    measured = data.gallery.measures
    return [
        {"case": fact.case}
        | {f"{m.name} {m.unit}".strip(): m.values.get(fact.case) for m in measured}
        | {"looks mislabelled": " ".join(fact.doubts)}
        for fact in data.gallery.facts
    ]


def _training(data: ReportData) -> list[Row]:
    columns = ("epochs", "train_loss", "validation_loss", "pseudo_dice", "ema_pseudo_dice")
    return [
        {"configuration": history.configuration, "fold": history.fold}
        | dict(zip(("epoch", *columns[1:]), values, strict=True))
        for history in data.histories
        for values in zip(*(getattr(history, name) for name in columns), strict=True)
    ]


def _plan(data: ReportData) -> list[Row]:
    rows: list[Row] = []
    for name, planned in data.plan.configurations.items():
        trained = data.trained.get(name, planned)
        features = {
            "features": trained.architecture.features,
            "planned features": planned.architecture.features,
        }
        rows.append(
            {"configuration": name}
            | (_axes("spacing mm", planned.spacing_mm) if data.has_spacing else {})
            | _axes("patch", planned.patch_shape)
            | _axes("median image", planned.median_shape)
            | {"batch size": trained.batch_size, "planned batch size": planned.batch_size}
            | {"dice over": "batch" if planned.batch_dice else "patch"}
            | {"encoder": trained.architecture.encoder, "stages": trained.architecture.n_stages}
            | {
                f"{word} {what}": f(n)
                for what, n in features.items()
                for word, f in (("first", min), ("most", max))
            }
            | {"refines": planned.previous_stage}
        )
    return rows


def _stages(data: ReportData) -> list[Row]:
    rows: list[Row] = []
    for name, planned in data.plan.configurations.items():
        configuration = data.trained.get(name, planned)
        net = configuration.architecture
        for i, shape in enumerate(feature_map_shapes(configuration)):
            rows.append(
                {"configuration": name, "stage": i + 1}
                | _axes("feature map", shape)
                | {"features": net.features[i]}
                | _axes("stride", net.strides[i])
                | _axes("kernel", net.kernels[i])
                | {"encoder blocks": net.encoder_blocks[i]}
                | {"decoder blocks": net.decoder_blocks[i] if i < len(net.decoder_blocks) else None}
            )
    return rows


def _sizes(data: ReportData) -> list[Row]:
    """Smallest, median and largest spacing and shape per axis of the files."""
    cases: dict[str, Sequence[Sequence[float]]] = {"shape": data.fingerprint.shapes_after_crop}
    if data.has_spacing:
        cases = {"spacing mm": data.fingerprint.spacings} | cases
    return [
        {
            "what": what,
            "axis": axis,
            "smallest": min(values),
            "median": float(np.median(values)),
            "largest": max(values),
        }
        for what, per_case in cases.items()
        for axis, values in zip("zyx", zip(*per_case, strict=True), strict=True)
    ]


def _intensities(data: ReportData) -> list[Row]:
    """Of the foreground, per channel."""
    rows: list[Row] = []
    for i, name in enumerate(data.channel_names):
        schemes = sorted({each.normalization[i] for each in data.plan.configurations.values()})
        found = data.fingerprint.foreground_intensity_properties_per_channel.get(str(i))
        measured = {} if found is None else found.model_dump()
        rows.append({"channel": name, "normalisation": ", ".join(schemes)} | measured)
    return rows


def feature_map_shapes(configuration: Configuration) -> list[list[int]]:
    """Voxels per axis of each stage, full resolution first. Source: method.md section 11."""
    total = np.cumprod(np.array(configuration.architecture.strides), axis=0)
    shapes: list[list[int]] = (np.array(configuration.patch_shape) // total).tolist()
    return shapes


def _axes(what: str, values: Sequence[float]) -> dict[str, float | None]:
    """A column per axis of the plan; of the first, a 2D network has none."""
    missing = 3 - len(values)
    return {f"{what} {i}": None if i <= missing else values[i - 1 - missing] for i in (1, 2, 3)}
