"""What a record derives from its crop box."""

from __future__ import annotations

from segflow.contracts.case import CaseRecord, Geometry

GEOMETRY = Geometry(
    shape=(9, 9, 9),
    spacing_mm=(1, 1, 1),
    file_dimensions=3,
    file_spacing_mm=(1, 1, 1),
    origin_mm=(0, 0, 0),
    direction=(1, 0, 0, 0, 1, 0, 0, 0, 1),
)


def test_shape_after_crop():
    record = CaseRecord(
        identifier="a",
        geometry=GEOMETRY,
        shape_before_crop=(9, 9, 9),
        crop_box=((0, 9), (2, 5), (8, 9)),
        spacing_mm=(1, 1, 1),
        shape=(3, 3, 3),
    )
    assert record.shape_after_crop == (9, 3, 1)


def test_placement_survives_json():
    placed = GEOMETRY.model_copy(update={"nifti_placement": "00ff"})
    assert Geometry.model_validate_json(placed.to_json()) == placed
    assert placed != GEOMETRY
    assert GEOMETRY.nifti_placement == ""
