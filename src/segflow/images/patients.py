"""Whose image each case is. The cases of a patient are held out together, and resampled together."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from segflow.contracts.errors import DatasetError
from segflow.contracts.spelling import nfc

__all__ = ["patients_file", "read_patients", "read_rows"]


def patients_file(folder: Path, given: str | None) -> Path | None:
    """The file that names the patients, if one does; arguments as of `read_patients`."""
    if given is not None:
        return Path(given) if given.endswith(".csv") else None
    own = folder / "patients.csv"
    return own if own.exists() else None


def read_patients(folder: Path, given: str | None, cases: Collection[str]) -> dict[str, str] | None:
    """The patient of each case, or None if they are not known.

    Args:
        folder: Of the data set. Its patients.csv is read where nothing is given.
        given: A CSV file with the columns case and patient; or a regular expression that is found in the name of every
            case, and whose first group, or else what it matches, is the patient: "^[^_]+" for P01_a and P01_b.
        cases: Their identifiers; others in the file are ignored.

    Raises:
        DatasetError: The file or the expression cannot be understood, or a case has no patient or two.
    """
    file = patients_file(folder, given)
    if file is not None:
        return _listed(file, cases)
    return None if given is None else _named(given, cases)


def _listed(file: Path, cases: Collection[str]) -> dict[str, str]:
    _, rows = read_rows(file, ",", ("case", "patient"))
    found: dict[str, str] = {}
    for case, patient in ((nfc(row["case"]), row["patient"]) for row in rows):
        if found.setdefault(case, patient) != patient:
            raise DatasetError(f"{file}: case {case} is of two patients, {found[case]} and {patient}")
    if unknown := sorted(case for case in cases if not found.get(case)):
        raise DatasetError(f"{file}: case {unknown[0]} has no patient; add a row for it")
    return {case: found[case] for case in cases}


def _named(pattern: str, cases: Collection[str]) -> dict[str, str]:
    try:
        expression = re.compile(pattern)
    except re.error as problem:
        raise DatasetError(f"patients: {pattern} is no regular expression: {problem}") from None
    matches = {case: expression.search(case) for case in cases}
    found = {case: match[min(1, expression.groups)] for case, match in matches.items() if match}
    if unknown := sorted(case for case in cases if not found.get(case)):
        raise DatasetError(
            f"patients: {pattern} finds no patient in the name of case {unknown[0]}; correct the expression, or list "
            "the patients in a CSV file"
        )
    return found


def read_rows(file: Path, separator: str, needed: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """A table: its columns, and its rows by column.

    Raises:
        DatasetError: The file is missing, is no table, or lacks a column that is needed.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter=separator, restval="", strict=True)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        raise DatasetError(f"{file} does not exist") from None
    except (csv.Error, UnicodeDecodeError) as problem:
        raise DatasetError(f"{file} cannot be read as a table: {problem}") from None
    if not columns:
        raise DatasetError(f"{file} cannot be read as a table: it is empty")
    if not set(needed) <= set(columns):
        raise DatasetError(f"{file} needs the columns {', '.join(needed)}; found {', '.join(columns)}")
    longer = next((number for number, row in enumerate(rows, start=2) if None in row), None)
    if longer is not None:
        raise DatasetError(f"{file}, line {longer}: it has more cells than the first line has names")
    return columns, rows
