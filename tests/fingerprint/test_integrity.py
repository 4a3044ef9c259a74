"""Label values that dataset.json does not name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segflow.contracts.case import Geometry, RawCase
from segflow.contracts.dataset import Case
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.fingerprint import check_label_values

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
    check_label_values(raw(values), CASE, labels)


@pytest.mark.parametrize(("values", "found"), [([0, 1, 2], 2), ([0, -1, 1], -1)])
def test_other_values_are_refused(values, found):
    with pytest.raises(DatasetError, match=rf"case one: label file labelsTr/one\.nii\.gz .*value {found},"):
        check_label_values(raw(values), CASE, CLASSES)
