"""Label values that dataset.json does not name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from segflow.contracts.case import Case, Geometry, RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.fingerprint.integrity import case_warnings, check_label_values

CLASSES = Labels((("background", 0), ("a", 1)))
IGNORE = Labels((("background", 0), ("a", 1), ("ignore", 2)))
REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), (1, 2))
CASE = Case("one", (Path("one_0000.nii.gz"),), Path("labelsTr/one.nii.gz"))


def raw(values):
    labels = None if values is None else np.array([[values]], np.int16)
    geometry = Geometry(
        shape=(1, 1, 3),
        spacing_mm=(1, 1, 1),
        file_dimensions=3,
        file_spacing_mm=(1, 1, 1),
        origin_mm=(0, 0, 0),
        direction=(1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
    return RawCase("one", np.zeros((1, 1, 1, 3), np.float32), labels, geometry)


@pytest.mark.parametrize(
    ("values", "labels"),
    [([0, 1, 1], CLASSES), ([0, 0, 0], CLASSES), ([0, 1, 2], IGNORE), ([0, 1, 2], REGIONS), (None, CLASSES)],
)
def test_named_values_pass(values, labels):
    assert check_label_values(raw(values), CASE, labels) == tuple(sorted(set(values or [])))


@pytest.mark.parametrize(("values", "found"), [([0, 1, 2], 2), ([0, -1, 1], -1)])
def test_other_values_are_refused(values, found):
    with pytest.raises(DatasetError, match=rf"case one: label file labelsTr/one\.nii\.gz .*value {found},"):
        check_label_values(raw(values), CASE, CLASSES)


@pytest.mark.parametrize(
    ("values", "labels", "only"),
    [
        ([0, 0, 0], CLASSES, "0"),
        ([0, 2, 2], IGNORE, "0, 2"),
        ([2, 2, 2], IGNORE, "2"),
        ([0, 0, 0], REGIONS, "0"),
    ],
)
def test_labels_without_foreground(values, labels, only):
    case = raw(values)
    found = check_label_values(case, CASE, labels)
    assert case_warnings(case, CASE, found, labels) == (
        f"case one: label file labelsTr/one.nii.gz has no foreground, only {only}",
    )


@pytest.mark.parametrize(
    ("values", "labels"),
    [([0, 0, 1], CLASSES), ([1, 1, 1], CLASSES), ([2, 1, 2], IGNORE), ([0, 2, 2], REGIONS), (None, CLASSES)],
)
def test_no_warning_with_foreground_or_without_labels(values, labels):
    case = raw(values)
    assert case_warnings(case, CASE, check_label_values(case, CASE, labels), labels) == ()


def test_warnings_of_the_reader_are_passed_on():
    case = dataclasses.replace(raw([0, 0, 0]), warnings=("case one: odd",))
    assert case_warnings(case, CASE, (0,), CLASSES)[0] == "case one: odd"
    assert case_warnings(case, CASE, (0, 1), CLASSES) == ("case one: odd",)
