"""The peer's reader by file ending."""

from __future__ import annotations

import pytest
from fingerprint_samples import fingerprint_of

from segflow.planning.plan import reader_name

FLAT = fingerprint_of([((999, 1, 1), (1, 64, 64)), ((999, 1, 1), (1, 70, 60))])
DEEP = fingerprint_of([((1, 1, 1), (1, 64, 64)), ((1, 1, 1), (9, 64, 64))])


@pytest.mark.parametrize(
    ("ending", "fingerprint", "name"),
    [
        (".png", FLAT, "NaturalImage2DIO"),
        (".BMP", FLAT, "NaturalImage2DIO"),
        (".tif", FLAT, "NaturalImage2DIO"),
        (".tif", DEEP, "Tiff3DIO"),
        (".tiff", FLAT, "Tiff3DIO"),
        (".nii", DEEP, "NibabelIO"),
        (".nii.gz", DEEP, "SimpleITKIO"),
        (".nii.gz", FLAT, "SimpleITKIO"),
        (".nrrd", DEEP, "SimpleITKIO"),
        (".mha", DEEP, "SimpleITKIO"),
        (".gipl", DEEP, "SimpleITKIO"),
        (".mhd", DEEP, "SimpleITKIO"),
    ],
)
def test_by_file_ending(ending, fingerprint, name):
    assert reader_name(ending, fingerprint) == name


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("NibabelIOWithReorient", "NibabelIOWithReorient"),
        ("SimpleITKIOWithReorient", "SimpleITKIOWithReorient"),
        ("None", "NaturalImage2DIO"),
        ("MyOwnReader", "NaturalImage2DIO"),
        (None, "NaturalImage2DIO"),
    ],
)
def test_a_known_reader_that_is_asked_for_wins(wanted, name):
    assert reader_name(".png", FLAT, wanted=wanted) == name
