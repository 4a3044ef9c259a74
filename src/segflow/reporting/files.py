"""The files beside the page, by their path in its folder."""

from __future__ import annotations

from segflow.reporting.data import ReportData
from segflow.reporting.paper.charts import charts
from segflow.reporting.paper.methods import methods_text, references
from segflow.reporting.tables import csv_text, tables

__all__ = ["report_files"]


def report_files(data: ReportData) -> dict[str, str | bytes]:
    """All files of the folder: those made from the page's data, and those that came with them."""
    files: dict[str, str | bytes] = {"methods.txt": methods_text(data), "references.bib": references(data)}
    files |= {f"tables/{name}.csv": csv_text(rows) for name, rows in tables(data).items() if rows}
    files |= {f"figures/{name}.svg": svg for name, svg in charts(data).items()}
    return files | dict(data.files)
