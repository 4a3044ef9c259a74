"""A report's page beside its files: every number of its tables is the one of a CSV file, as the page writes it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import groupby
from typing import Any

import pandas as pd

from segflow.reporting.score_tables import METRICS
from segflow.reporting.text import change_text, dice_text, duration_text, number_text, percent_text


class Page(HTMLParser):
    """Rows of all tables by the table's name, without headings, and all text, as a reader sees them.

    Raises:
        AssertionError: An element is not closed.
    """

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.points: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self._table = self._tag = ""
        self._is_cell = False
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._tag = tag
        self._open += [] if tag in self.VOID else [tag]
        about = dict(attributes)
        if tag == "table":
            self._table = about["data-table"] or ""
        if tag == "th" and about.get("scope") == "row":
            self.rows.setdefault(self._table, []).append([])
        if tag == "td" or about.get("scope") == "row":
            self.rows[self._table][-1].append("")
            self._is_cell = True

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._tag == "title" and "svg" in self.tags:  # what a dot of a figure says
            self.points.append(one_line(data))
        elif self._is_cell:
            cells = self.rows[self._table][-1]
            cells[-1] = one_line(f"{cells[-1]} {data}")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._tag = ""
        if tag in {"td", "th"}:
            self._is_cell = False


def one_line(text: str) -> str:
    return " ".join(text.split())


def tables_of(files: Mapping[str, str | bytes]) -> dict[str, list[dict[str, Any]]]:
    """Rows of every CSV file by its name; what looks like a number is one, an empty cell NaN or no text."""
    found = {}
    for name, content in files.items():
        if name.startswith("tables/"):
            table = pd.read_csv(io.StringIO(content), keep_default_na=False, na_values=[""])
            texts = table.select_dtypes(exclude="number")
            table[texts.columns] = texts.fillna("").map(named)
            table.columns = [named(heading) for heading in table.columns]
            found[name.removeprefix("tables/").removesuffix(".csv")] = table.to_dict("records")
    return found


def named(cell: str) -> str:
    """A cell without the apostrophe that keeps spreadsheets from reading a formula."""
    return re.sub(r"^'(?=[=+\-@])", "", cell)


#: Tables of the page whose numbers are in the file of another one.
FILES = {"ranks": "candidates", "means": "scores"}
#: Tables whose rows have no name of the file.
NAMELESS = {"stages", "lesion_sizes"}


def numbers_of(row: Mapping[str, Any]) -> set[str]:
    """All words with a digit that a row of a file may be shown as."""
    words = " ".join(value for value in row.values() if isinstance(value, str))
    values = [value for value in row.values() if isinstance(value, int | float) and not math.isnan(value)]
    for text in (dice_text, number_text, percent_text, change_text, duration_text):
        words += " ".join(["", *map(text, values)])
    return set(words.split())


def check_page(html: str, files: Mapping[str, str | bytes]) -> Page:
    """Compare a page with its files.

    Raises:
        AssertionError: A row of a table is not in its file, rounded as the page rounds, or a row of the file is not on
            the page; or a dot of a figure, or what is said of all cases, is not in a file.
    """
    page, read = Page(html), tables_of(files)
    scored = sum(row["mean dice"] == row["mean dice"] for row in read.get("cases", []))
    for name, shown in page.rows.items():
        rows = read[FILES.get(name, name)]
        if name == "means":
            groups = groupby(rows, key=lambda row: (row["class"], METRICS[row["metric"]][0]))
            rows = [
                {f"{i} {key}": row[key] for i, row in enumerate(group) for key in row} | {"title": title}
                for (_, title), group in groups
            ]
        if name == "scores":
            rows = [row for row in rows if row["of"] == "chosen model" and row["metric"] != "dice"]
        if name == "confusion":
            counts = [[value for value in row.values() if isinstance(value, int)] for row in rows]
            shares = [[n / sum(one) if sum(one) else math.nan for n in one] for one in counts]
            rows = [row | dict(enumerate(one)) for row, one in zip(rows, shares, strict=True)]
        assert len(shown) == len(rows), name
        for cells in shown:
            line = " ".join(cells).replace(" + ", "+")
            numbers = {word for word in line.split() if re.search(r"\d", word)}
            fitting = [row for row in rows if numbers - numbers_of(row) <= {str(scored)}]
            names = [one_line(v) for row in fitting for v in row.values() if isinstance(v, str) and v]
            assert fitting, f"{name}: no row of the file has {numbers} of {cells}"
            assert name in NAMELESS or any(part in line for part in names), f"{name}: {cells}"
    known = {
        one_line(
            "".join(
                c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in f"{row['case']}: {value:.3f}"
            )
        )
        for row in [*read.get("cases", []), *read.get("scores_by_case", [])]
        for heading, value in row.items()
        if heading in METRICS or heading.startswith("dice ")
    }
    assert set(page.points) <= known
    check_measures(page, read.get("measures", []))
    return page


def check_measures(page: Page, rows: list[dict[str, Any]]) -> None:
    """What is the same in all cases, and what is far from the others."""
    text = one_line(page.text)
    numbers = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    for match in re.finditer(r"Far from the others: (.*?)\)( and \d+ more)?\.", text):
        for case, value in re.findall(r"(\S[^()]*) \(([^()]+)(?:\), |$)", match[1]):
            values = next(row for row in rows if one_line(row["case"]) == case).values()
            assert value in {number_text(v) for v in values if isinstance(v, int | float)}, (case, value)
    for heading, values in numbers.items():
        known = [value for value in values if isinstance(value, int | float) and not math.isnan(value)]
        if known and min(known) == max(known):
            name, _, unit = one_line(heading).rpartition(" ")
            value = number_text(known[0])
            assert f"{name} ({value} {unit})" in text or f"{one_line(heading)} ({value})" in text, heading
