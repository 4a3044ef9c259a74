"""A table of the report: rows for a CSV file with all their digits, and what the page shows of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import pandas as pd

from segflow.reporting.text import dice_text, number_text
from segflow.storage.files import cell_text

__all__ = [
    "Column",
    "Row",
    "Table",
    "csv_text",
    "field",
    "interval_text",
    "mean_columns",
    "row_text",
    "share_of",
]

#: Heading to cell; None and NaN are empty.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column on the page.

    Attributes:
        heading: With a unit, if it has one.
        text: From a row of the file to what is shown of it, or to that and a quiet remark behind it.
        look: CSS classes of its cells; "n" is a number.
        style: CSS variable of a row's cell, of which its class makes a colour or a bar.
    """

    heading: str
    text: Callable[[Row], str | tuple[str, str]]
    look: str = "n"
    style: Callable[[Row], str] = lambda _: ""

    def cell(self, row: Row) -> tuple[str, str]:
        """What is shown of a row, and a quiet remark, which may be empty."""
        shown = self.text(row)
        return (shown, "") if isinstance(shown, str) else shown


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        rows: Of its file.
        columns: On the page; the first one names the row. None: it is a file only.
        winner: Heading of the file, and the cell of rows that stand out.
        look: CSS classes.
        shows: The table in whose file its numbers are, if it has none of its own.
    """

    rows: Sequence[Row]
    columns: Sequence[Column] = ()
    winner: tuple[str, str] = ("", "")
    look: str = ""
    shows: str = ""

    def where(self, **cells: str) -> Self:
        """The rows with some cells, of headings that are names of Python."""
        rows = [row for row in self.rows if all(row[name] == cell for name, cell in cells.items())]
        return replace(self, rows=rows)

    def wins(self, row: Row) -> bool:
        """Whether a row stands out."""
        name, cell = self.winner
        return row.get(name) == cell


def csv_text(rows: Sequence[Row]) -> str:
    """A table as CSV, in which no name is a formula of a spreadsheet."""
    cells = [{_cell(name): _cell(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(cells).to_csv(index=False, lineterminator="\n") if cells else ""


def _cell(value: Any) -> Any:
    return cell_text(value) if isinstance(value, str) else value


def field(name: str, text: Callable[[Any], str] = str) -> Callable[[Row], str]:
    """For a column: the cell of this heading of the file, as a text; that of NaN where there is none."""
    return lambda row: text(row.get(name, math.nan))


def share_of(name: str) -> Callable[[Row], str]:
    """For a column: the number of this heading, as the CSS variable of bars and tints."""
    return lambda row: "" if math.isnan(row.get(name, math.nan)) else f"--share: {row[name]:.4f}"


def interval_text(row: Row, text: Callable[[float], str] = dice_text) -> str:
    """Both ends of an interval; nothing where there is none."""
    low, high = row.get("interval from", math.nan), row.get("interval to", math.nan)
    return "" if math.isnan(low) else f"{text(low)} to {text(high)}"


def row_text(row: Row) -> Callable[[float], str]:
    """How the numbers of a row are written: scores with three decimals, what has a unit with four digits."""
    return number_text if row.get("unit") else dice_text


def mean_columns(kind: str, colours: Mapping[str, str], cases: int, of: str = "") -> tuple[Column, ...]:
    """Of a table with a row per class: name, mean and standard deviation, interval, cases.

    Args:
        kind: Heading of the names.
        colours: By name.
        cases: All of them, of which some may have no value.
        of: Ends the headings of mean and standard deviation in the file.
    """

    def mean(row: Row) -> tuple[str, str]:
        text = row_text(row)
        spread = f"\N{PLUS-MINUS SIGN} {text(row[f'std{of}'])}" if row["cases"] > 1 else ""
        return text(row[f"mean{of}"]), spread

    return (
        Column(kind, field("class"), "nowrap swatched", lambda row: f"--c: {colours[row['class']]}"),
        Column(f"Mean{of.title()} \N{PLUS-MINUS SIGN} std", mean, "n strong"),
        Column("95 % interval", lambda row: interval_text(row, row_text(row))),
        Column(
            "Cases", lambda row: (number_text(row["cases"]), f"of {cases}" if row["cases"] < cases else "")
        ),
    )
