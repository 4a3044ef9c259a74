"""Scores as a table on the screen and as a CSV file."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from segflow.contracts.errors import ConfigurationError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Metrics, Summary
from segflow.metrics.overlap import target_key
from segflow.storage.files import cell_text, write_text

__all__ = ["score_table", "scores_file", "write_scores"]

_HEADINGS = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95 mm",
    "assd": "ASSD mm",
    "nsd": "NSD",
    "volume": "volume difference ml",
    "lesions": "lesion F1",
}


def score_table(summary: Summary, labels: Labels, metrics: Sequence[str]) -> Group:
    """Means per target, each with the sample standard deviation and the number of the cases that it is over.

    Args:
        summary: Of all cases.
        labels: Their vocabulary.
        metrics: Names of those to show.

    Returns:
        Something that a rich console can print.
    """
    title = (
        f"{len(summary.metric_per_case)} cases: mean \N{PLUS-MINUS SIGN} std (cases in which it is defined)"
    )
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("target")
    for name in metrics:
        table.add_column(_HEADINGS[name], justify="right")
    for label, target in zip(labels.target_names, labels.targets, strict=True):
        key = target_key(target)
        cells = []
        for name in metrics:
            values = [getattr(case.metrics[key], name) for case in summary.metric_per_case]
            defined = [value for value in values if not math.isnan(value)]
            spread = f" \N{PLUS-MINUS SIGN} {statistics.stdev(defined):.4f}" if len(defined) > 1 else ""
            cells.append(f"{_number(getattr(summary.mean[key], name))}{spread} ({len(defined)})")
        table.add_row(Text(label), *cells)
    table.add_row(
        "mean", *(_number(getattr(summary.foreground_mean, name)) for name in metrics), style="bold"
    )
    return Group(Text(title, style="italic"), table)


def scores_file(summary: Path) -> Path:
    """The CSV file that lies beside a summary.json.

    Raises:
        ConfigurationError: They would be one file.
    """
    table = summary.with_suffix(".csv")
    if table == summary:
        raise ConfigurationError(
            f"--output: the table of scores would overwrite {summary}; name {summary.stem}.json"
        )
    return table


def write_scores(path: Path, summary: Summary, labels: Labels) -> None:
    """Write one row per case and target; an undefined value is an empty cell.

    Args:
        path: The CSV file.
        summary: Of all cases.
        labels: Their vocabulary.
    """
    asked = summary.foreground_mean.requested
    names = {name: Metrics.model_fields[name].alias or name for name in asked}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "target", "name", *names.values()])
    for case in summary.metric_per_case:
        for title, target in zip(labels.target_names, labels.targets, strict=True):
            metrics = case.metrics[target_key(target)]
            cells = [getattr(metrics, name) for name in asked]
            shown = ["" if math.isnan(value) else value for value in cells]
            names_of_row = map(cell_text, (case.file_name, target_key(target), title))
            writer.writerow([*names_of_row, *shown])
    write_text(path, text.getvalue())


def _number(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.4f}"
