"""One self-contained HTML page from everything that was decided and measured."""

from __future__ import annotations

import base64
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from segflow.contracts.scores import Step
from segflow.metrics.overlap import target_key
from segflow.reporting.data import Overlay, ReportData
from segflow.reporting.figures import HEIGHT, WIDTH, class_colour, draw_curves
from segflow.reporting.rows import candidate_rows, case_rows, class_rows, network_rows, ranges
from segflow.reporting.text import dice_text, duration_text, number_text, percent_text, shape_text

__all__ = ["render_report"]

_TEMPLATE = "report.html.jinja"


def render_report(data: ReportData) -> str:
    """Render the report.

    Args:
        data: Everything on the page.

    Returns:
        HTML that needs no other file and no network.
    """
    environment = Environment(
        loader=PackageLoader("segflow", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "dice": dice_text,
        "duration": duration_text,
        "number": number_text,
        "percent": percent_text,
        "shape": shape_text,
    }
    return environment.get_template(_TEMPLATE).render(**_results(data), **_method(data))


def _results(data: ReportData) -> dict[str, Any]:
    classes, scale = class_rows(data)
    return {
        "data": data,
        "best": data.selection.best,
        "headline": data.summary.foreground_mean.dice,
        "n_cases": len(data.summary.metric_per_case),
        "classes": classes,
        "scale": scale,
        "strip_width": WIDTH,
        "strip_height": HEIGHT,
        "candidates": candidate_rows(data),
        "steps": [(_target_name(step, data), step) for step in data.postprocessing.steps],
        "cases": case_rows(data),
        "overlays": [(overlay, _data_uri(overlay)) for overlay in data.overlays],
        "legend": [(name, class_colour(i)) for i, name in enumerate(data.labels.target_names)],
    }


def _method(data: ReportData) -> dict[str, Any]:
    spacing, shape = ranges(data.fingerprint)
    runs = sorted(data.histories, key=lambda history: (history.configuration, history.fold))
    total = sum(stage.seconds for stage in data.stages)
    intensities = data.fingerprint.foreground_intensity_properties_per_channel
    return {
        "configurations": [(c, network_rows(c)) for c in data.plan.configurations.values()],
        "spacing": spacing,
        "shape": shape,
        "channels": [
            (name, intensities.get(str(i)), _normalizations(data, i))
            for i, name in enumerate(data.channel_names)
        ],
        "curves": [
            (name, draw_curves(list(group)))
            for name, group in groupby(runs, key=lambda run: run.configuration)
        ],
        "total_seconds": total,
        "longest_seconds": max((stage.seconds for stage in data.stages), default=0.0),
    }


def _normalizations(data: ReportData, channel: int) -> str:
    schemes = {c.normalization[channel] for c in data.plan.configurations.values()}
    return ", ".join(sorted(schemes))


def _target_name(step: Step, data: ReportData) -> str:
    keys = [target_key(target) for target in data.labels.targets]
    names = dict(zip(keys, data.labels.target_names, strict=True))
    return names.get(step.target, "all foreground together")


def _data_uri(overlay: Overlay) -> str:
    return "data:image/png;base64," + base64.b64encode(overlay.png).decode("ascii")
