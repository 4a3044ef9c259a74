"""Checks of single cases, and of all cases together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from case_samples import raw_case

from segflow.contracts.artefacts import CheckedCase
from segflow.contracts.case import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.fingerprint.consistency import absent_labels, dataset_warnings, equal_images, unusual_spacings
from segflow.fingerprint.integrity import case_warnings
from segflow.images.cases import check_label_values

CLASSES = Labels((("background", 0), ("a", 1)))
IGNORE = Labels((("background", 0), ("a", 1), ("ignore", 2)))
REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), (1, 2))
CASE = Case("one", (Path("one_0000.nii.gz"),), Path("labelsTr/one.nii.gz"))


def raw(values):
    return raw_case(np.zeros((1, 1, 1, 3)), None if values is None else [[values]])


@pytest.mark.parametrize(
    ("values", "labels", "only"),
    [
        ([0, 1, 1], CLASSES, None),
        ([1, 1, 1], CLASSES, None),
        ([2, 1, 2], IGNORE, None),
        ([0, 2, 2], REGIONS, None),
        (None, CLASSES, None),
        ([0, 0, 0], CLASSES, "0"),
        ([0, 2, 2], IGNORE, "0, 2"),
        ([2, 2, 2], IGNORE, "2"),
        ([0, 0, 0], REGIONS, "0"),
    ],
)
def test_label_values_and_a_warning_without_foreground(values, labels, only):
    case = raw(values)
    found = () if values is None else check_label_values(case.labels, CASE.label, labels, case="one")
    assert found == tuple(sorted(set(values or [])))
    message = f"case one: label file labelsTr/one.nii.gz has no foreground, only {only}"
    assert case_warnings(case, CASE, found, labels) == (() if only is None else (message,))


@pytest.mark.parametrize(("values", "found"), [([0, 1, 2], 2), ([0, -1, 1], -1)])
def test_other_values_are_refused(values, found):
    with pytest.raises(DatasetError, match=rf"case one: label file labelsTr/one\.nii\.gz .*value {found},"):
        check_label_values(raw(values).labels, CASE.label, CLASSES, case="one")


def test_warnings_of_the_reader_are_passed_on():
    case = dataclasses.replace(raw([0, 0, 0]), warnings=("case one: odd",))
    assert case_warnings(case, CASE, (0,), CLASSES)[0] == "case one: odd"
    assert case_warnings(case, CASE, (0, 1), CLASSES) == ("case one: odd",)


def checked(identifier, *digests, values=(0, 1)):
    return CheckedCase(
        identifier=identifier,
        images={f"imagesTr/{identifier}_000{number}": digest for number, digest in enumerate(digests)},
        label={},
        shape=(1, 1, 3),
        spacing_mm=(1, 1, 1),
        label_values=values,
    )


def test_equal_images():
    cases = [checked("a", "x", "y"), checked("b", "y", "x"), checked("c", "x", "y"), checked("d", "x", "z")]
    assert equal_images(cases) == (
        "cases a, c have the same images, byte by byte; give them one patient (`patients`), "
        "or else one may be trained on where the other is scored",
    )
    assert equal_images(cases[:2]) == ()


@pytest.mark.parametrize(
    ("n", "folds", "said"),
    [
        (1, None, "1 case is too few for a cross-validation"),
        (4, None, "4 cases are too few for a cross-validation"),
        (4, Path("splits_final.json"), None),
        (5, None, None),
    ],
)
def test_few_cases(n, folds, said):
    names = [f"c{number}" for number in range(n)]
    cases = tuple(Case(name, (), None) for name in names)
    dataset = Dataset(Path("few"), "few", ("MR",), CLASSES, ".nii.gz", cases, folds)
    found = dataset_warnings(dataset, [checked(name, name) for name in names])
    assert [said is not None and text.startswith(said) for text in found] == [True] * (said is not None)


def test_absent_labels():
    labels = Labels((("background", 0), ("a", 1), ("whole", (2, 3)), ("b", 4), ("ignore", 5)))
    cases = [checked("a", "x", values=(0, 1)), checked("b", "y", values=(0, 2, 5))]
    assert absent_labels(cases, labels) == ("label 3 occurs in no case", "label 4 (b) occurs in no case")
    assert absent_labels([*cases, checked("c", "z", values=(3, 4))], labels) == ()


@pytest.mark.parametrize(
    ("spacing_mm", "is_unusual"),
    [
        ((3, 1, 1), False),
        ((12, 0.4, 0.4), False),
        ((400, 400, 400), True),
        ((0.001, 0.001, 0.001), True),
        ((3, 1, 0.1), True),
    ],
)
def test_unusual_spacings(spacing_mm, is_unusual):
    known = [(3, 1, 1), (2.5, 0.8, 0.8), (5, 1, 1), (3, 1, 1.1)]
    lines = unusual_spacings({"a": spacing_mm, "b": (3, 1, 1)}, known)
    assert len(lines) == is_unusual
    for line in lines:
        assert line.startswith("case a: its voxels measure ")
        assert "mostly 3 x 1 x 1; correct the header" in line


def test_nothing_is_unusual_where_nothing_is_known():
    assert unusual_spacings({"a": (400, 1, 1)}, ()) == ()
