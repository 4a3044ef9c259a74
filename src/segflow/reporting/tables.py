"""The tables of the report, but for those of `segflow.reporting.score_tables`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from segflow.contracts.scores import Candidate
from segflow.metrics.overlap import nan_mean, target_key
from segflow.reporting.data import ReportData
from segflow.reporting.figures import class_colours
from segflow.reporting.score_tables import score_tables
from segflow.reporting.table import Column, Row, Table, field, interval_text, mean_columns, share_of
from segflow.reporting.text import (
    change_text,
    dice_text,
    duration_text,
    mean_dice,
    number_text,
    percent_text,
    shape_text,
)

__all__ = ["case_dice", "class_rows", "tables"]

#: Of more targets, the candidates are not compared target by target on the page.
_MOST_TARGETS = 8


#: Name, Dice of each target, and their mean.
_Dice = tuple[str, list[float], float]


def tables(data: ReportData) -> dict[str, Table]:
    """All tables by name. Headings that hold a label begin with another word, so that none is there twice."""
    candidates = _candidates(data)
    return {
        "classes": _classes(data),
        "candidates": candidates,
        "ranks": _ranks(candidates),
        "postprocessing": _postprocessing(data),
        "cases": _dice_table("case", case_dice(data), data),
        "patients": _dice_table("patient", _patient_dice(data), data),
        "measures": Table(_measures(data)),
        "training": Table(_training(data)),
        "plan": Table(_plan(data)),
        "stages": _stages(data),
        "sizes": _sizes(data),
        "intensities": _intensities(data),
        "time": _time(data),
        **(score_tables(data, data.assessment) if data.assessment else {}),
        "provenance": _provenance(data),
    }


def class_rows(data: ReportData) -> list[Row]:
    """Dice of each class or region over the cases in which it is defined, with its interval where that was measured."""
    assessed = data.assessment.classes if data.assessment else ()
    intervals = {one.name: one.metrics["dice"].interval for one in assessed if "dice" in one.metrics}
    rows: list[Row] = []
    for name, key in zip(data.labels.target_names, map(target_key, data.labels.targets), strict=True):
        dice = pd.Series([case.metrics[key].dice for case in data.summary.metric_per_case], dtype=float)
        cells = {
            "class": name,
            "mean dice": data.summary.mean[key].dice,
            "std dice": dice.std(),
            "cases": int(dice.count()),
        }
        ends = zip(("interval from", "interval to"), intervals.get(name, ()), strict=False)
        rows.append(cells | dict(ends))
    return rows


def _classes(data: ReportData) -> Table:
    rows = class_rows(data)
    colours = class_colours(data.labels.target_names)
    columns = mean_columns(data.kind, colours, len(data.summary.metric_per_case), " dice")
    has_intervals = any("interval from" in row for row in rows)
    return Table(
        rows, columns if has_intervals else [one for one in columns if one.heading != "95 % interval"]
    )


def _candidates(data: ReportData) -> Table:
    """Highest score first, then the chosen one; those without a score last."""

    def rank(candidate: Candidate) -> tuple[bool, float, bool]:
        score = candidate.foreground_mean_dice
        return (math.isnan(score), -score, candidate.name != data.card.selection.best.name)

    bootstrap = data.card.selection.bootstrap
    resampled = {} if bootstrap is None else {one.name: one for one in bootstrap.candidates}
    names, rows = data.labels.target_names, list[Row]()
    for candidate in sorted(data.card.selection.candidates, key=rank):
        row: dict[str, Any] = {
            "model": candidate.name,
            "chosen": "yes" if candidate.name == data.card.selection.best.name else "no",
            "mean dice": candidate.foreground_mean_dice,
        }
        scores = data.candidate_summaries.get(candidate.name)
        if data.candidate_summaries:
            keys = map(target_key, data.labels.targets)
            dice = [scores.mean[key].dice if scores else math.nan for key in keys]
            row |= {f"dice {name}": value for name, value in zip(names, dice, strict=True)}
        if found := resampled.get(candidate.name):
            row |= {"interval from": found.interval[0], "interval to": found.interval[1]}
            row |= {f"share of rank {n}": share for n, share in enumerate(found.rank_shares, 1)}
        rows.append(row)
    columns = [
        Column(
            "Model", lambda row: (_spaced(row), "chosen" if row["chosen"] == "yes" else ""), "nowrap pills"
        ),
        Column("Mean Dice", field("mean dice", dice_text), "n strong"),
        Column("", lambda _: "", "bar", share_of("mean dice")),
    ]
    if resampled:
        best = Column("Best in", field("share of rank 1", percent_text))
        columns += [Column("95 % interval", interval_text), best]
    if data.candidate_summaries and len(names) <= _MOST_TARGETS:
        columns += [Column(name, field(f"dice {name}", dice_text)) for name in names]
    return Table(rows, columns, winner=("chosen", "yes"))


def _ranks(candidates: Table) -> Table:
    """Of the candidates in the bootstrap; empty if there is only one."""
    headings = dict.fromkeys(
        name for row in candidates.rows for name in row if name.startswith("share of rank")
    )
    shares = [
        Column(f"{rank}.", field(name, percent_text), "n tinted", share_of(name))
        for rank, name in enumerate(headings, 1)
    ]
    rows = candidates.rows if len(shares) > 1 else []
    return Table(rows, [Column("Model", _spaced, "nowrap"), *shares], shows="candidates")


def _spaced(row: Row) -> str:
    return str(row["model"]).replace("+", " + ")


def _postprocessing(data: ReportData) -> Table:
    names = dict(zip(map(target_key, data.labels.targets), data.labels.target_names, strict=True))
    found = data.card.postprocessing
    steps = [
        (
            step.operation.description,
            names.get(step.target, "whole foreground"),
            step.dice_before,
            step.dice_after,
            "accepted" if step.accepted else "not used",
        )
        for step in found.steps
    ]
    total = (found.foreground_mean_dice_before, found.foreground_mean_dice_after)
    steps.append(("all accepted steps", f"mean over {data.kinds}", *total, ""))
    headings = ("step", "target", "dice before", "dice after", "decision")
    rows = [dict(zip(headings, step, strict=True)) | {"change": step[3] - step[2]} for step in steps]
    columns = (
        Column("Step", field("step"), ""),
        Column("Target", field("target"), ""),
        Column("Dice before", field("dice before", dice_text)),
        Column("after", field("dice after", dice_text)),
        Column("change", field("change", change_text)),
        Column("Decision", lambda row: ("", row["decision"]), "pills"),
    )
    return Table(rows, columns, winner=("decision", "accepted"))


def case_dice(data: ReportData) -> list[_Dice]:
    """Name of every case, Dice of each target and their mean, lowest mean first; last those that were not predicted."""
    keys = [target_key(target) for target in data.labels.targets]
    scored = [
        (
            case.file_name.removesuffix(data.file_ending),
            [case.metrics[key].dice for key in keys],
            mean_dice(case),
        )
        for case in data.summary.metric_per_case
    ]
    unknown = [
        (fact.case, [math.nan] * len(keys), math.nan) for fact in data.gallery.facts if not fact.predicted
    ]
    return sorted((*scored, *unknown), key=_by_mean)


def _patient_dice(data: ReportData) -> list[_Dice]:
    """Of every patient the means over its cases, lowest first; none where the patients are not known."""
    patients = data.summary.patients or {}
    found: dict[str, list[_Dice]] = defaultdict(list)
    for case in case_dice(data):
        if patient := patients.get(f"{case[0]}{data.file_ending}"):
            found[patient].append(case)
    rows = [
        (
            patient,
            [nan_mean(dice) for dice in zip(*(case[1] for case in own), strict=True)],
            nan_mean(case[2] for case in own),
        )
        for patient, own in found.items()
    ]
    return sorted(rows, key=_by_mean)


def _by_mean(row: _Dice) -> tuple[bool, float, str]:
    name, _, mean = row
    return (math.isnan(mean), mean, name)


def _dice_table(what: str, found: Sequence[_Dice], data: ReportData) -> Table:
    names = [f"dice {name}" for name in data.labels.target_names]
    rows = [
        {what: name} | dict(zip(names, dice, strict=True)) | {"mean dice": mean} for name, dice, mean in found
    ]
    headings = (*zip(data.labels.target_names, names, strict=True), ("Mean", "mean dice"))
    dice = [Column(heading, field(name, dice_text), "n heat", share_of(name)) for heading, name in headings]
    first = Column(what.capitalize(), field(what), "case" if what == "case" else "")
    return Table(rows, (first, *dice), look="sortable")


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
    return [
        {"configuration": history.configuration, "fold": history.fold} | row
        for history in data.histories
        for row in history.rows
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


def _stages(data: ReportData) -> Table:
    """Of every network, full resolution first; shapes of feature maps are voxels. Source: method.md section 11."""
    rows: list[Row] = []
    for name, planned in data.plan.configurations.items():
        configuration = data.trained.get(name, planned)
        net = configuration.architecture
        shapes = np.array(configuration.patch_shape) // np.cumprod(np.array(net.strides), axis=0)
        for i, shape in enumerate(shapes.tolist()):
            rows.append(
                {"configuration": name, "stage": i + 1}
                | _axes("feature map", shape)
                | {"features": net.features[i]}
                | _axes("stride", net.strides[i])
                | _axes("kernel", net.kernels[i])
                | {"encoder blocks": net.encoder_blocks[i]}
                | {"decoder blocks": net.decoder_blocks[i] if i < len(net.decoder_blocks) else math.nan}
            )
    columns = (
        Column("Feature maps", lambda row: _joined(row, "feature map"), "nowrap"),
        Column("Features", field("features", number_text)),
        Column("Stride", lambda row: _joined(row, "stride")),
        Column("Kernel", lambda row: _joined(row, "kernel")),
        Column(
            "Blocks",
            lambda row: f"{number_text(row['encoder blocks'])} | {number_text(row['decoder blocks'])}",
        ),
    )
    return Table(rows, columns)


def _sizes(data: ReportData) -> Table:
    """Smallest, median and largest spacing and shape after cropping, per axis of the files; flat images have two."""
    cases: dict[str, Sequence[Sequence[float]]] = {
        "shape after cropping, voxels": data.fingerprint.shapes_after_crop
    }
    if data.has_spacing:
        cases = {"spacing, mm": data.fingerprint.spacings} | cases
    is_flat = {shape[0] for shape in data.fingerprint.shapes_after_crop} == {1}
    rows = [
        {
            "what": what,
            "axis": axis,
            "smallest": min(values),
            "median": float(np.median(values)),
            "largest": max(values),
        }
        for what, per_case in cases.items()
        for axis, values in list(zip("zyx", zip(*per_case, strict=True), strict=True))[int(is_flat) :]
    ]
    numbers = [Column(name, field(name, number_text)) for name in ("smallest", "median", "largest")]
    first = Column(
        f"{len(data.fingerprint.spacings)} cases", lambda row: f"{row['what']}, along {row['axis']}", ""
    )
    return Table(rows, (first, *numbers))


def _intensities(data: ReportData) -> Table:
    """Of the foreground, per channel."""
    rows: list[Row] = []
    for i, name in enumerate(data.channel_names):
        schemes = sorted({each.normalization[i] for each in data.plan.configurations.values()})
        found = data.fingerprint.foreground_intensity_properties_per_channel.get(str(i))
        measured = {} if found is None else found.model_dump()
        rows.append({"channel": name, "normalisation": ", ".join(schemes)} | measured)
    shown = {
        "Mean": "mean", "Std": "std", "0.5 %": "percentile_00_5", "Median": "median", "99.5 %": "percentile_99_5"
    }  # fmt: skip
    numbers = [Column(heading, field(name, number_text)) for heading, name in shown.items()]
    names = (Column("Channel", field("channel"), ""), Column("Normalisation", field("normalisation"), ""))
    return Table(rows, (*names, *numbers))


def _time(data: ReportData) -> Table:
    longest = max((stage.seconds for stage in data.stages), default=0) or 1
    rows = [
        {"stage": s.name, "jobs": s.jobs, "seconds": s.seconds, "forecast seconds": s.forecast_s or math.nan}
        for s in data.stages
    ]
    columns = [
        Column("Stage", field("stage"), ""),
        Column("Jobs", field("jobs", number_text)),
        Column("Time", field("seconds", duration_text)),
        Column("Forecast", lambda row: "" if math.isnan(f := row["forecast seconds"]) else duration_text(f)),
        Column("", lambda _: "", "bar", lambda row: f"--share: {row['seconds'] / longest:.4f}"),
    ]
    if not any(stage.forecast_s for stage in data.stages):
        del columns[3]
    return Table(rows, columns)


def _provenance(data: ReportData) -> Table:
    rows = [{"what": what, "value": value} for what, value in data.provenance]
    return Table(rows, (Column("What", field("what"), "nowrap"), Column("", field("value"), "value")))


def _axes(what: str, values: Sequence[float]) -> dict[str, float]:
    """A column per axis of the plan; of the first, a 2D network has none."""
    return dict(
        zip((f"{what} {i}" for i in (1, 2, 3)), (*(3 - len(values)) * (math.nan,), *values), strict=True)
    )


def _joined(row: Row, what: str) -> str:
    """These columns as a shape."""
    return shape_text(value for i in (1, 2, 3) if not math.isnan(value := row[f"{what} {i}"]))
