"""Patients are found in names by a regular expression, or listed in a file; what fits neither is named."""

from __future__ import annotations

import re

import pytest

from segflow.contracts.errors import DatasetError
from segflow.images.patients import patients_file, read_patients

CASES = ["P01_a", "P01_b", "P02_a"]
OWNERS = {"P01_a": "P01", "P01_b": "P01", "P02_a": "P02"}


@pytest.mark.parametrize("pattern", ["^[^_]+", "^(P[0-9]{2})_", r"(?:P\d+)"])
def test_an_expression(tmp_path, pattern):
    assert read_patients(tmp_path, pattern, CASES) == OWNERS
    assert patients_file(tmp_path, pattern) is None


def test_a_file_given_or_of_the_data_set(tmp_path):
    assert read_patients(tmp_path, None, CASES) is None
    own, other = tmp_path / "patients.csv", tmp_path / "other.csv"
    own.write_text("patient,case,age\nP01,P01_a,50\nP01,P01_b,50\nP02,P02_a,60\nP03,P03_a,70\n")
    other.write_text("case,patient\nP01_a,1\nP01_b,2\nP02_a,03\n")
    assert read_patients(tmp_path, None, CASES) == OWNERS
    assert read_patients(tmp_path, str(other), CASES) == {"P01_a": "1", "P01_b": "2", "P02_a": "03"}
    assert (patients_file(tmp_path, None), patients_file(tmp_path, str(other))) == (own, other)


def test_a_table_whose_rows_are_numbered_in_a_column_without_a_name(tmp_path):
    rows = [f"{number},{case},{owner}" for number, (case, owner) in enumerate(OWNERS.items())]
    (tmp_path / "patients.csv").write_text("\n".join([",case,patient", *rows]))
    assert read_patients(tmp_path, None, CASES) == OWNERS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "patients.csv does not exist"),
        ("", "patients.csv cannot be read as a table"),
        ("case;patient\nP01_a;1\n", "patients.csv needs the columns case, patient; found case;patient"),
        ("case,patient\nP01_a,1,2\n", "line 2: it has more cells than the first line has names"),
        ("case,patient\nP01_a,1\nP01_a,2\n", "patients.csv: case P01_a is of two patients, 1 and 2"),
        ("case,patient\nP01_a,1\nP01_b,\nP02_a,2\n", "patients.csv: case P01_b has no patient"),
        ("case,patient\nP01_a,1\nP01_b,1\n", "patients.csv: case P02_a has no patient; add a row for it"),
    ],
)
def test_files_that_are_wrong(tmp_path, content, message):
    file = tmp_path / "patients.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DatasetError, match=re.escape(message)):
        read_patients(tmp_path, str(file), CASES)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("P(01", "patients: P(01 is no regular expression: missing )"),
        ("P01", "patients: P01 finds no patient in the name of case P02_a"),
        ("P01_()|P02", "finds no patient in the name of case P01_a"),
    ],
)
def test_expressions_that_are_wrong(tmp_path, pattern, message):
    with pytest.raises(DatasetError, match=re.escape(message)):
        read_patients(tmp_path, pattern, CASES)
