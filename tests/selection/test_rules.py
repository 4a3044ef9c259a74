"""Applying operations."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from segflow.contracts.scores import Operation
from segflow.selection.pieces import apply

LABEL_MAP = np.array([[[1, 2, 2, 0, 1, 1, 0, 2]]], dtype=np.uint8)
LABEL_MAP.setflags(write=False)
MM = (2.0, 1.0, 0.5)


def keep(*labels):
    return Operation(name="keep_largest", labels=labels)


def remove(mm3, *labels):
    return Operation(name="remove_small", labels=labels, min_volume_mm3=mm3)


def fill(value, *labels):
    return Operation(name="fill_holes", labels=labels, fill=value)


def test_none():
    assert apply([], LABEL_MAP, spacing_mm=MM) is LABEL_MAP


def test_in_order():
    first, second = ([keep(1), keep(1, 2)], [keep(1, 2), keep(1)])
    np.testing.assert_array_equal(apply(first, LABEL_MAP, spacing_mm=MM), [[[0, 2, 2, 0, 1, 1, 0, 0]]])
    np.testing.assert_array_equal(apply(second, LABEL_MAP, spacing_mm=MM), [[[1, 2, 2, 0, 0, 0, 0, 0]]])
    assert apply([keep(1)], LABEL_MAP, spacing_mm=MM).dtype == np.uint8


def test_small_components_go_by_volume():
    volume = np.zeros((3, 4, 9), dtype=np.uint8)
    volume[0, 0, :3] = 1  # 3 voxels of 1 mm3
    volume[1:, 2:, 6:] = 2  # 12
    volume[1, 1, 5] = 1  # touches the others at a corner
    volume.setflags(write=False)
    kept = apply([remove(3.0, 1)], volume, spacing_mm=MM)
    np.testing.assert_array_equal(kept[0], volume[0])
    assert kept[1, 1, 5] == 0
    np.testing.assert_array_equal(kept == 2, volume == 2)
    jointly = apply([remove(3.5, 1, 2)], volume, spacing_mm=MM)
    assert not jointly[0].any()
    assert jointly[1, 1, 5] == 1
    assert not apply([remove(12.5, 1, 2)], volume, spacing_mm=(2.0, 1.0, 0.4)).any()


def test_of_a_flat_image_it_is_an_area():
    flat = LABEL_MAP
    np.testing.assert_array_equal(
        apply([remove(1.5, 1)], flat, spacing_mm=(999.0, 999.0, 1.0)), [[[0, 2, 2, 0, 1, 1, 0, 2]]]
    )


RING = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 2, 1, 3], [1, 1, 1, 0]], dtype=np.uint8)


def test_enclosed_background_is_filled_in_flat_images():
    filled = apply([fill(1, 1)], RING[None], spacing_mm=MM)[0]
    expected = RING.copy()
    expected[1, 1] = 1  # and the 2 stays
    np.testing.assert_array_equal(filled, expected)


def test_a_tunnel_is_no_hole_in_3d():
    tunnel = np.stack([RING] * 3)
    np.testing.assert_array_equal(apply([fill(1, 1)], tunnel, spacing_mm=MM), tunnel)
    closed = tunnel.copy()
    closed[[0, 2]] = 1
    filled = apply([fill(1, 1)], closed, spacing_mm=MM)
    assert filled[1, 1, 1] == 1
    assert filled[1, 2, 1] == 2
    assert filled[1, 0, 3] == 0


def test_a_region_s_hole_gets_the_value_that_stands_for_it():
    ring = RING.copy()
    ring[0, 1] = 4
    assert apply([fill(4, 1, 4)], ring[None], spacing_mm=MM)[0, 1, 1] == 4


@pytest.mark.parametrize(
    "values",
    [
        {"name": "keep_largest", "labels": (1,), "fill": 1},
        {"name": "remove_small", "labels": (1,)},
        {"name": "remove_small", "labels": (1,), "min_volume_mm3": 0},
        {"name": "fill_holes", "labels": (1,)},
    ],
)
def test_an_operation_says_all_it_needs(values):
    with pytest.raises(ValidationError):
        Operation(**values)


def test_operations_in_a_file():
    assert keep(1).model_dump(mode="json") == {"name": "keep_largest", "labels": [1]}
    assert remove(2, 1).model_dump(mode="json") == {
        "name": "remove_small",
        "labels": [1],
        "min_volume_mm3": 2,
    }
    assert [o.description for o in (keep(1), remove(2.5, 1), fill(1, 1))] == [
        "keep the largest component",
        "remove components below 2.5 mm\N{SUPERSCRIPT THREE}",
        "fill holes",
    ]
