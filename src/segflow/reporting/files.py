"""The files beside the page, by their path in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from segflow.metrics.overlap import target_key
from segflow.reporting.data import ReportData
from segflow.reporting.text import mean_dice
from segflow.storage.files import cell_text

__all__ = ["csv_text", "report_files"]


def report_files(data: ReportData) -> dict[str, str | bytes]:
    """All files of the folder: those made from the page's data, and those that came with them."""
    tables = {"cases": _cases(data)}
    return {f"tables/{name}.csv": csv_text(rows) for name, rows in tables.items()} | dict(data.files)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV: NaN and None are empty cells, and no name is a formula of a spreadsheet."""
    cells = [{_cell(name): _cell(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(cells).to_csv(index=False, lineterminator="\n")


def _cell(value: Any) -> Any:
    return cell_text(value) if isinstance(value, str) else value


def _cases(data: ReportData) -> list[dict[str, Any]]:
    """Dice per case and target, which have names that no label can be taken for."""
    keys = [target_key(target) for target in data.labels.targets]
    names = [f"dice {name}" for name in data.labels.target_names]
    return [
        {"case": case.file_name.removesuffix(data.file_ending), "mean dice": mean_dice(case)}
        | {name: case.metrics[key].dice for name, key in zip(names, keys, strict=True)}
        for case in data.summary.metric_per_case
    ]
