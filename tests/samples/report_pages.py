"""A report's page beside its files: every number of its tables is the one of a CSV file, as the page writes it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser

import pandas as pd

from segflow.reporting.scores import METRICS
from segflow.reporting.text import (
    ABSENT,
    dice_text,
    duration_text,
    number_text,
    percent_text,
    shape_text,
)

MINUS = "\N{MINUS SIGN}"


class Page(HTMLParser):
    """Rows of all tables by the section they are in, without headings, and all text, as a reader sees them."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input", "line", "rect", "circle", "path", "use"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.facts: list[tuple[str, str]] = []
        self.points: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self._title = False
        self._section, self._part, self._cell = "", "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._title = tag == "title"
        if tag == "section":
            self._section = dict(attributes).get("id") or ""
        if tag in {"thead", "tbody", "tfoot"}:
            self._part = tag
        if tag == "tr":
            part = self._section if self._part == "tbody" else self._part
            self._row: list[str] = []
            self.rows.setdefault(part, []).append(self._row)
        if tag in {"td", "th", "dt", "dd", "h3", "summary"}:
            self._cell = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._title and self._section:  # what a point of a plot says
            self.points.append(data)
            return
        self._cell += f"{data} "

    def handle_endtag(self, tag: str) -> None:
        self._title = False
        cell = " ".join(self._cell.split())
        if tag in {"td", "th"}:
            self._row.append(cell)
        if tag in {"dt", "dd", "h3", "summary"}:
            self.facts.append((tag, cell))


def tables_of(files: Mapping[str, str | bytes]) -> dict[str, list[dict[str, object]]]:
    """Rows of every CSV file by its name; what looks like a number is one, an empty cell NaN."""
    found = {}
    for name, content in files.items():
        if name.startswith("tables/"):
            table = pd.read_csv(io.StringIO(content), keep_default_na=False, na_values=[""])
            found[name.removeprefix("tables/").removesuffix(".csv")] = table.to_dict("records")
    return found


def plain(name: object) -> str:
    """A cell's name without the apostrophe that keeps spreadsheets from reading a formula, spaces as on a page."""
    return " ".join(re.sub(r"^'(?=[=+\-@])", "", str(name)).split())


#: Rows of sizes.csv on the page.
SIZES = {"spacing mm": "Spacing mm, per axis", "shape": "Shape voxels, per axis"}


def axes(row: Mapping[str, object], what: str) -> str:
    """Columns of the axes as the page has them."""
    return shape_text(row[f"{what} {i}"] for i in (1, 2, 3) if row[f"{what} {i}"] == row[f"{what} {i}"])


def expected_rows(tables: Mapping[str, list[dict[str, object]]]) -> dict[str, list[list[str]]]:
    """What the page must have of each file, as rows in the order of the file."""
    found: dict[str, list[list[str]]] = {
        section: [] for section in ("result", "candidates", "postprocessing")
    }
    n = sum(
        row["mean dice"] == row["mean dice"] for row in tables.get("cases", [])
    )  # the others were not predicted
    intervals = {
        row["class"]: f"{dice_text(row['interval from'])} to {dice_text(row['interval to'])}"
        for row in tables.get("scores", [])
        if row["metric"] == "dice" and row["of"].startswith("chosen") and row["cases"]
    }
    for row in tables["classes"]:
        spread = f" \N{PLUS-MINUS SIGN} {dice_text(row['std dice'])}" if row["cases"] > 1 else ""
        of = f" of {n}" if row["cases"] < n else ""
        found["result"].append(
            [
                plain(row["name"]),
                f"{dice_text(row['mean dice'])}{spread}",
                intervals.get(row["name"], ""),
                f"{row['cases']}{of}",
            ]
        )
    for row in tables["candidates"]:
        name = plain(row["model"]).replace("+", " + ")
        ranks = [row[column] for column in row if column.startswith("share of rank")]
        targets = [dice_text(row[column]) for column in row if column.startswith("dice ")]
        interval = [f"{dice_text(row['interval from'])} to {dice_text(row['interval to'])}"] if ranks else []
        best = [percent_text(ranks[0])] if ranks else []
        chosen = " chosen" if row["chosen"] == "yes" else ""
        found["candidates"].append([name + chosen, dice_text(row["mean dice"]), *interval, *best, *targets])
        found["candidates"] += (
            [[name, *map(percent_text, ranks)]] if len(tables["candidates"]) > 1 and ranks else []
        )
    for row in tables["postprocessing"][:-1]:
        change = f"{row['change']:+.4f}".replace("-", MINUS) if row["change"] == row["change"] else ABSENT
        dice = [dice_text(row["dice before"]), dice_text(row["dice after"]), change]
        found["postprocessing"].append([plain(row["step"]), plain(row["target"]), *dice, row["decision"]])
    for what, section in (("case", "cases"), ("patient", "patients")):
        found[section] = [
            [
                plain(row[what]),
                *(dice_text(row[column]) for column in row if column.startswith("dice ")),
                dice_text(row["mean dice"]),
            ]
            for row in tables.get(section, [])
        ]
    found["plan"] = [
        [
            axes(row, "feature map"), str(row["features"]), axes(row, "stride"), axes(row, "kernel"),
            f"{row['encoder blocks']} | {number_text(row['decoder blocks'])}",
        ]
        for row in tables["stages"]
    ]  # fmt: skip
    found["data"] = []
    for what in dict.fromkeys(row["what"] for row in tables["sizes"]):
        rows = [row for row in tables["sizes"] if row["what"] == what]
        flat = all(
            row["largest"] == 1 for row in tables["sizes"] if (row["what"], row["axis"]) == ("shape", "z")
        )
        columns = (
            shape_text(row[column] for row in rows[flat:]) for column in ("smallest", "median", "largest")
        )
        found["data"].append([SIZES[what], *columns])
    for row in tables["intensities"]:
        names = ("mean", "std", "percentile_00_5", "median", "percentile_99_5")
        found["data"].append(
            [plain(row["channel"]), row["normalisation"], *(number_text(row[name]) for name in names)]
        )
    found["run"] = [[plain(row["what"]), plain(row["value"])] for row in tables.get("provenance", [])]
    for row in tables.get("time", []):
        forecast = (
            [duration_text(row["forecast seconds"])]
            if row["forecast seconds"] == row["forecast seconds"]
            else []
        )
        found["run"].append([row["stage"], str(row["jobs"]), duration_text(row["seconds"]), *forecast])
    return found


ENDS = ("interval from", "interval to")


def written(row: Mapping[str, object], text: Callable[[float], str], *names: str) -> str:
    """A number, or two with "to" in between."""
    return " to ".join(text(row[name]) for name in names)


def expected_metrics(tables: Mapping[str, list[dict[str, object]]]) -> list[list[str]]:
    """Metrics of all classes beside Dice: one row per table of the page."""
    by_class: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for row in tables.get("scores", []):
        by_class.setdefault((plain(row["class"]), row["metric"]), []).append(row)
    found: list[list[str]] = []
    n = len({row["case"] for row in tables.get("scores_by_case", [])})
    for (name, metric), (chosen, *others) in by_class.items():
        title, unit, _ = METRICS[metric]
        text = number_text if unit else dice_text
        intervals = [written(row, text, *ENDS) if row["cases"] > 0 else "" for row in (chosen, *others)]
        means = [
            f"{text(row['mean'])} {ends}".strip()
            for row, ends in zip((chosen, *others), intervals, strict=True)
        ]
        found.append([name, f"{title} {unit}".strip(), *means])
        if metric != "dice":
            spread = f" \N{PLUS-MINUS SIGN} {text(chosen['std'])}" if chosen["cases"] > 1 else ""
            cases = f"{chosen['cases']:g}" + (f" of {n}" if chosen["cases"] < n else "")
            found.append([name, f"{text(chosen['mean'])}{spread}", intervals[0], cases])
    return found


def expected_scores(tables: Mapping[str, list[dict[str, object]]]) -> dict[str, list[list[str]]]:
    """As `expected_rows`, of what is measured beyond Dice."""
    lesions = [
        [row["what"].replace("_", " ").capitalize(), dice_text(row["value"]), written(row, dice_text, *ENDS)]
        for row in tables.get("lesions", [])
    ]
    for row in tables.get("lesion_sizes", []):
        low, high = (number_text(row[name]) for name in ("low", "high"))
        size = (
            f"below {high}" if low == ABSENT else f"{low} and more" if high == ABSENT else f"{low} to {high}"
        )
        rates = [dice_text(row[name]) for name in ("detection_rate", "false_positives_per_case")]
        counts = [str(row[name]) for name in ("lesions", "found", "false_positives")]
        lesions.append([size, *counts[:2], rates[0], counts[2], rates[1]])
    confusion = []
    for row in tables.get("confusion", []):
        counts = [row[name] for name in row if name.startswith("predicted ")]
        shares = [percent_text(count / sum(counts) if sum(counts) else math.nan) for count in counts]
        cells = [f"{count} {share}" for count, share in zip(counts, shares, strict=True)]
        confusion.append([plain(row["reference"]), *cells])
    limits = ("limit from ml", "limit to ml")
    volumes = [
        [
            plain(row["class"]),
            str(row["cases"]),
            number_text(row["bias ml"]),
            written(row, number_text, *limits),
        ]
        for row in tables.get("volumes", [])
    ]
    calibration = [
        [
            plain(row["class"]), dice_text(row["mean"]), written(row, dice_text, *ENDS),
            dice_text(row["with probability 0"]),
        ]
        for row in tables.get("calibration_errors", [])
    ]  # fmt: skip
    return {
        "scores": expected_metrics(tables), "lesions": lesions, "confusion": confusion, "volumes": volumes,
        "calibration": calibration,
    }  # fmt: skip


def check_page(html: str, files: Mapping[str, str | bytes]) -> Page:
    """Compare a page with its files.

    Raises:
        AssertionError: A row of a file is not on the page with the same numbers, or one of the page is in no file.
    """
    page, tables = Page(html), tables_of(files)
    for section, rows in (expected_rows(tables) | expected_scores(tables)).items():
        shown = [[cell for cell in row if cell] for row in page.rows.get(section, [])]
        for row in rows:
            wanted = [cell for cell in row if cell]
            assert wanted in shown, f"{section}: {wanted} is not among {shown}"
        if section in {"cases", "plan", "postprocessing", "candidates", *expected_scores({})}:
            known = [[cell for cell in row if cell] for row in rows]
            assert [row for row in shown if row not in known] == [], section
    facts = [cell for tag, cell in page.facts if tag == "dd"]
    for row in tables["plan"]:
        spacing = [f"{axes(row, 'spacing mm')} mm"] if "spacing mm 1" in row else []
        for fact in (*spacing, axes(row, "patch"), axes(row, "median image")):
            assert fact in facts, fact
    dice = {
        f"{plain(row['case'])}: {value:.3f}"
        for row in tables.get("cases", [])
        for column, value in row.items()
        if column.startswith("dice ")
    } | {
        f"{plain(row['case'])}: {row[metric]:.3f}"
        for row in tables.get("scores_by_case", [])
        for metric in METRICS
        if metric in row and row[metric] == row[metric]
    }
    assert {" ".join(point.split()) for point in page.points} <= dice
    check_measures(page, tables.get("measures", []))
    return page


def check_measures(page: Page, rows: list[dict[str, object]]) -> None:
    """What is the same in all cases, and what is far from the others."""
    text = " ".join(page.text.split())
    numbers = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    for match in re.finditer(r"Far from the others: (.*?)\)( and \d+ more)?\.", text):
        for case, value in re.findall(r"(\S[^()]*) \(([^()]+)(?:\), |$)", match[1]):
            values = next(row for row in rows if plain(row["case"]) == case).values()
            assert value in {number_text(v) for v in values if isinstance(v, int | float)}, (case, value)
    for heading, values in numbers.items():
        known = [value for value in values if isinstance(value, int | float) and not math.isnan(value)]
        if known and min(known) == max(known):
            name, _, unit = plain(heading).rpartition(" ")
            value = number_text(known[0])
            assert f"{name} ({value} {unit})" in text or f"{plain(heading)} ({value})" in text, heading
