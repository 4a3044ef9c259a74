"""Operations on label maps by hand, and on tables of pieces as on the label maps themselves."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.metrics.overlap import confusion_matrix
from segflow.selection import pieces as pieces_module
from segflow.selection.pieces import apply, confusion, connected, cut, relabelled

THREE = Labels((("background", 0), ("a", 1), ("b", 2), ("c", 3)))
IGNORE = Labels((*THREE.entries, ("ignore", 4)))
MM = (2.0, 1.0, 0.5)


LABEL_MAP = np.array([[[1, 2, 2, 0, 1, 1, 0, 2]]], dtype=np.uint8)
LABEL_MAP.setflags(write=False)


def keep(*labels):
    return Operation(name="keep_largest", labels=labels)


def remove(mm3, *labels):
    return Operation(name="remove_small", labels=labels, min_volume_mm3=mm3)


def fill(value, *labels):
    return Operation(name="fill_holes", labels=labels, fill=value)


def test_operations_are_applied_in_order():
    assert apply([], LABEL_MAP, spacing_mm=MM) is LABEL_MAP
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


def test_the_size_in_a_flat_image_is_an_area():
    found = apply([remove(1.5, 1)], LABEL_MAP, spacing_mm=(999.0, 999.0, 1.0))
    np.testing.assert_array_equal(found, [[[0, 2, 2, 0, 1, 1, 0, 2]]])


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


@pytest.fixture(params=[1, 2**21], ids=["layer by layer", "at once"])
def slab(request, monkeypatch):
    """However many voxels are looked at in one go."""
    monkeypatch.setattr(pieces_module, "_SLAB_VOXELS", request.param)


def random_operation(generator, *, holes):
    labels = tuple(sorted({int(v) for v in generator.integers(1, 4, generator.integers(1, 4))}))
    fills, removes = (
        fill(int(generator.choice(labels)), *labels),
        remove(float(generator.integers(1, 12)), *labels),
    )
    return [keep(*labels), removes, fills][generator.integers(3 if holes else 2)]


def random_pair(generator, shape, labels, density):
    reference = generator.integers(0, len(labels.values) + (labels.ignore is not None), shape)
    prediction = generator.integers(0, 4, shape) * (generator.random(shape) < density)
    prediction[generator.random(shape) < 0.02] = 9  # no label of this data set
    return prediction.astype(np.int16), reference.astype(np.int16)


@pytest.mark.usefixtures("slab")
@pytest.mark.parametrize("labels", [THREE, IGNORE], ids=["classes", "ignore"])
@pytest.mark.parametrize("shape", [(1, 14, 15), (6, 7, 8), (3, 1, 40), (1, 1, 30), (5, 5, 1)], ids=str)
@pytest.mark.parametrize("density", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("holes", [True, False])
def test_any_sequence_of_operations(labels, shape, density, holes):
    generator = np.random.default_rng([*shape, int(100 * density)])
    changes = 0
    for _ in range(8):
        prediction, reference = random_pair(generator, shape, labels, density)
        pieces = cut(prediction, reference, labels, MM, holes=holes)
        values, found = pieces.labels, prediction
        for _ in range(5):
            operation = random_operation(generator, holes=holes)
            after = apply([operation], found, spacing_mm=MM)
            values = relabelled(pieces, values, operation)
            changes += int((after != found).any())
            found = after
            np.testing.assert_array_equal(
                confusion(pieces, values, labels), confusion_matrix(reference, found, labels)
            )
    assert changes > 1


def test_without_holes_background_is_in_no_piece():
    prediction, reference = random_pair(np.random.default_rng(5), (6, 7, 8), THREE, 0.3)
    pieces = cut(prediction, reference, THREE, MM)
    assert (pieces.labels > 0).all()
    assert pieces.voxels.sum() == (prediction > 0).sum()


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("value", [0, 1, 9])
def test_maps_of_one_value(value, holes):
    prediction = np.full((3, 4, 5), value, dtype=np.int16)
    reference = np.ones_like(prediction)
    pieces = cut(prediction, reference, THREE, MM, holes=holes)
    np.testing.assert_array_equal(
        confusion(pieces, pieces.labels, THREE), confusion_matrix(reference, prediction, THREE)
    )
    assert len(pieces.labels) == (value != 0)


def test_shapes_must_agree():
    with pytest.raises(PredictionError, match="differ in shape"):
        cut(np.zeros((1, 2, 3), np.int16), np.zeros((1, 2, 4), np.int16), THREE, MM)


def test_long_chains_are_connected():
    generator = np.random.default_rng(0)
    order = generator.permutation(500)
    chain = np.stack([order[:-1], order[1:]], axis=1)
    assert set(connected(chain, 500)) == {0}
    broken = connected(np.delete(chain, 250, axis=0), 500)
    assert set(broken) == {int(order[:251].min()), int(order[251:].min())}
    np.testing.assert_array_equal(connected(np.zeros((0, 2), dtype=np.int64), 3), [0, 1, 2])
