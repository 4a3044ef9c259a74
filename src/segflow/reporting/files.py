"""The files beside the page, by their path in its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator

from segflow.contracts.assessment import Assessment
from segflow.reporting.data import ReportData
from segflow.reporting.figures import (
    class_colours,
    draw_assessment,
    draw_curves,
    draw_histogram,
    draw_intervals,
    draw_strips,
)
from segflow.reporting.methods import methods_text, references
from segflow.reporting.score_tables import METRICS
from segflow.reporting.table import csv_text
from segflow.reporting.tables import case_dice, tables

__all__ = ["report_files"]


def report_files(data: ReportData) -> dict[str, str | bytes]:
    """All files of the folder: those made from the page's data, and those that came with them."""
    files: dict[str, str | bytes] = {"methods.txt": methods_text(data), "references.bib": references(data)}
    for name, table in tables(data).items():
        if table.rows and not table.shows:
            files[f"tables/{name}.csv"] = csv_text(table.rows)
    figures = dict(_figures(data))
    if data.assessment:
        figures |= dict(_of_assessment(data, data.assessment))
    return files | {f"figures/{name}.svg": svg for name, svg in figures.items()} | dict(data.files)


def _figures(data: ReportData) -> Iterator[tuple[str, str]]:
    """Dice per class, candidates with their intervals, training curves, histograms of cases."""
    for name, svg in draw_curves(data.histories).items():
        yield f"training_{name}", svg
    for number, measure in enumerate(filter(lambda each: each.values, data.gallery.measures), 1):
        if measure.varies:
            yield f"histogram_{number}", draw_histogram(measure)
    if data.summary.metric_per_case:
        names, cases = data.labels.target_names, case_dice(data)
        strips = {name: [(case, dice[i]) for case, dice, _ in cases] for i, name in enumerate(names)}
        yield "dice", draw_strips(strips, "Dice", class_colours(names))
    if data.card.selection.bootstrap:
        means = {one.name: one.foreground_mean_dice for one in data.card.selection.candidates}
        rows = [
            (
                one.name.replace("+", " + "),
                means[one.name],
                one.interval,
                one.name == data.card.selection.best.name,
            )
            for one in data.card.selection.bootstrap.candidates
            if not math.isnan(one.interval[0])
        ]
        units = data.card.selection.bootstrap.units
        what = f"mean Dice with 95 % interval over resampled {units} (filled: chosen)"
        yield "candidates", draw_intervals(rows, what)


def _of_assessment(data: ReportData, assessment: Assessment) -> Iterator[tuple[str, str]]:
    """Every metric but Dice, agreement of volumes, and calibration."""
    yield from draw_assessment(assessment).items()
    for metric, (title, unit, _) in METRICS.items():
        strips = {
            one.name: [(case.case, case.values[one.target][metric]) for case in assessment.cases]
            for one in assessment.classes
            if metric in one.metrics
        }
        if metric != "dice" and not all(math.isnan(value) for cases in strips.values() for _, value in cases):
            what = f"{title}, {unit}" if unit else title
            yield metric, draw_strips(strips, what, class_colours(data.labels.target_names))
