"""Fill the templates of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from segflow.contracts.scores import Candidate
from segflow.metrics.overlap import target_key
from segflow.reporting.cases import outliers
from segflow.reporting.data import ReportData
from segflow.reporting.figures import (
    HEIGHT,
    WIDTH,
    class_colour,
    common_scale,
    draw_curves,
    draw_histogram,
    lay_out_plot,
)
from segflow.reporting.reasons import choice_sentences, plan_sentences, postprocessing_sentences
from segflow.reporting.score_figures import score_panels
from segflow.reporting.scores import METRICS, confusion_shares, metric_tables
from segflow.reporting.tables import case_dice, feature_map_shapes, patient_dice
from segflow.reporting.text import (
    SHOWN_RANKS,
    dice_text,
    duration_text,
    number_text,
    percent_text,
    shape_text,
    spreads,
)

__all__ = ["render_report"]

_FILTERS = {
    "dice": dice_text,
    "duration": duration_text,
    "number": number_text,
    "percent": percent_text,
    "shape": shape_text,
}


def render_report(data: ReportData) -> str:
    """Render the report as HTML that needs no other file and no network."""
    environment = Environment(
        loader=PackageLoader("segflow.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment.get_template("report.html.jinja").render(
        data=data, **_results(data), **_scores(data), **_method(data)
    )


def _results(data: ReportData) -> dict[str, Any]:
    keys = [target_key(target) for target in data.labels.targets]
    cases = case_dice(data)
    scale = common_scale([value for _, dice, _ in cases for value in dice])
    plots = [lay_out_plot([(name, dice[i]) for name, dice, _ in cases], scale) for i in range(len(keys))]
    bootstrap = data.selection.bootstrap
    return {
        "classes": list(zip(spreads(data.summary, data.labels), plots, strict=True)),
        "class_colour": class_colour,
        "scale": scale,
        "plot_width": WIDTH,
        "plot_height": HEIGHT,
        "target_keys": keys,
        "target_names": dict(zip(keys, data.labels.target_names, strict=True)),
        "shown_ranks": SHOWN_RANKS,
        "places": {overlay.case: place for place, overlay in enumerate(data.gallery.overlays)},
        "candidates": sorted(data.selection.candidates, key=lambda each: _rank(each, data)),
        "resampled": {} if bootstrap is None else {found.name: found for found in bootstrap.candidates},
        # Lowest mean first, since these are the ones to look at.
        "cases": sorted(cases, key=_by_mean),
        "patients": sorted(patient_dice(data), key=_by_mean),
    }


def _by_mean(row: tuple[str, list[float], float]) -> tuple[bool, float, str]:
    name, _, mean = row
    return (math.isnan(mean), mean, name)


def _scores(data: ReportData) -> dict[str, Any]:
    found = data.assessment
    return {
        "dice_estimates": [one.metrics["dice"] for one in found.classes if "dice" in one.metrics]
        if found
        else [],
        "metric_tables": metric_tables(found) if found else [],
        "metric_names": METRICS,
        "confusion": confusion_shares(found) if found else [],
        "score_panels": score_panels(found),
        "dice_text": dice_text,
        "number_text": number_text,
    }


def _rank(candidate: Candidate, data: ReportData) -> tuple[bool, float, bool]:
    """Highest score first, then the chosen one; those without a score last."""
    score = candidate.foreground_mean_dice
    return (math.isnan(score), -score, candidate.name != data.selection.best.name)


def _method(data: ReportData) -> dict[str, Any]:
    flat = {shape[0] for shape in data.fingerprint.shapes_after_crop} == {1}
    return {
        "configurations": [
            (c, data.trained.get(c.name, c), feature_map_shapes(c)) for c in data.plan.configurations.values()
        ],
        "spacing": _ranges(data.fingerprint.spacings, flat=flat),
        "shape": _ranges(data.fingerprint.shapes_after_crop, flat=flat),
        "measures": [measure for measure in data.gallery.measures if measure.values],
        "draw_histogram": draw_histogram,
        "outliers": outliers,
        "curves": draw_curves(data.histories),
        "reasons": [
            *plan_sentences(data),
            ("Choice", choice_sentences(data)),
            ("Post-processing", postprocessing_sentences(data)),
        ],
    }


def _ranges(cases: Sequence[Sequence[float]], *, flat: bool) -> list[list[float]]:
    """Smallest, median and largest value over cases, each per axis; flat images have two axes."""
    values = np.asarray(cases, np.float64)[:, int(flat) :]
    return [function(values, axis=0).tolist() for function in (np.min, np.median, np.max)]
