"""Post-processing operations by hand, and on tables of pieces as on the label maps themselves."""

from __future__ import annotations

import numpy as np
import pytest
from case_samples import labels_of
from pydantic import ValidationError

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.metrics.overlap import confusion_matrix
from segflow.selection import operations
from segflow.selection.operations import apply, confusion, connected, cut, relabelled

THREE = labels_of(3)
IGNORE = Labels((*THREE.entries, ("ignore", 4)))
MM = (2.0, 1.0, 0.5)


def keep(*labels):
    return Operation(name="keep_largest", labels=labels)


def remove(mm3, *labels):
    return Operation(name="remove_small", labels=labels, min_volume_mm3=mm3)


def fill(value, *labels):
    return Operation(name="fill_holes", labels=labels, fill=value)


def applied(label_map, *operations, spacing_mm=MM):
    label_map = np.array(label_map, np.uint8, ndmin=3)
    label_map.setflags(write=False)
    found = apply(operations, label_map, spacing_mm=spacing_mm)
    assert found.dtype == np.uint8
    assert (found is label_map) == (not operations)
    return found


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([], [1, 2, 2, 0, 1, 1, 0, 2]),
        ([keep(1), keep(1, 2)], [0, 2, 2, 0, 1, 1, 0, 0]),
        ([keep(1, 2), keep(1)], [1, 2, 2, 0, 0, 0, 0, 0]),
    ],
)
def test_operations_are_applied_in_order(operations, expected):
    np.testing.assert_array_equal(applied([1, 2, 2, 0, 1, 1, 0, 2], *operations).ravel(), expected)


def test_small_components_are_removed_by_volume():
    volume = np.zeros((3, 4, 9))
    volume[0, 0, :3] = 1  # 3 voxels of 1 mm3
    volume[1:, 2:, 6:] = 2  # 12
    volume[1, 1, 5] = 1  # touches the others at a corner
    kept = applied(volume, remove(3.0, 1))
    np.testing.assert_array_equal(kept[0], volume[0])
    assert kept[1, 1, 5] == 0
    np.testing.assert_array_equal(kept == 2, volume == 2)
    jointly = applied(volume, remove(3.5, 1, 2))
    assert not jointly[0].any()
    assert jointly[1, 1, 5] == 1
    assert not applied(volume, remove(12.5, 1, 2), spacing_mm=(2.0, 1.0, 0.4)).any()


def test_the_size_in_a_flat_image_is_an_area():
    found = applied([1, 2, 2, 0, 1, 1, 0, 2], remove(1.5, 1), spacing_mm=(999.0, 999.0, 1.0))
    np.testing.assert_array_equal(found, [[[0, 2, 2, 0, 1, 1, 0, 2]]])


RING = np.array([[1, 4, 1, 0], [1, 0, 1, 0], [1, 2, 1, 3], [1, 1, 1, 0]])


@pytest.mark.parametrize("value", [1, 4])
def test_enclosed_background_of_a_flat_image_gets_the_target_s_value(value):
    expected = RING.copy()
    expected[1, 1] = value  # the 2 stays
    np.testing.assert_array_equal(applied(RING, fill(value, 1, 4))[0], expected)


def test_a_tunnel_is_no_hole_in_3d():
    tunnel = np.stack([RING] * 3)
    np.testing.assert_array_equal(applied(tunnel, fill(1, 1, 4)), tunnel)
    tunnel[[0, 2]] = 1
    filled = applied(tunnel, fill(1, 1, 4))
    assert (filled[1, 1, 1], filled[1, 2, 1], filled[1, 0, 3]) == (1, 2, 0)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "keep_largest", "fill": 1},
        {"name": "remove_small"},
        {"name": "remove_small", "min_volume_mm3": 0},
        {"name": "fill_holes"},
    ],
)
def test_operations_with_missing_or_surplus_parameters_are_refused(values):
    with pytest.raises(ValidationError):
        Operation(labels=(1,), **values)


@pytest.mark.parametrize(
    ("operation", "stored", "description"),
    [
        (keep(1), {"name": "keep_largest"}, "keep the largest component"),
        (
            remove(2.5, 1),
            {"name": "remove_small", "min_volume_mm3": 2.5},
            "remove components below 2.5 mm\N{SUPERSCRIPT THREE} (in flat images, mm\N{SUPERSCRIPT TWO})",
        ),
        (fill(1, 1), {"name": "fill_holes", "fill": 1}, "fill holes"),
    ],
)
def test_operations_in_files_and_in_words(operation, stored, description):
    assert operation.model_dump(mode="json") == {"labels": [1], **stored}
    assert operation.description == description


def random_operation(generator, *, holes):
    labels = sorted(set(generator.integers(1, 4, generator.integers(1, 4)).tolist()))
    kinds = [keep(*labels), remove(float(generator.integers(1, 12)), *labels), fill(labels[-1], *labels)]
    return kinds[generator.integers(3 if holes else 2)]


def random_pair(generator, shape, labels, density):
    reference = generator.integers(0, len(labels.values) + (labels.ignore is not None), shape)
    prediction = generator.integers(0, 4, shape) * (generator.random(shape) < density)
    prediction[generator.random(shape) < 0.02] = 9  # no label of this data set
    return prediction.astype(np.int16), reference.astype(np.int16)


@pytest.mark.parametrize("slab_voxels", [1, 2**21])
@pytest.mark.parametrize("labels", [THREE, IGNORE], ids=["classes", "ignore"])
@pytest.mark.parametrize("shape", [(1, 14, 15), (6, 7, 8), (3, 1, 40), (1, 1, 30), (5, 5, 1)], ids=str)
@pytest.mark.parametrize("holes", [True, False])
def test_any_sequence_of_operations_gives_the_scores_of_the_changed_maps(
    labels, shape, holes, slab_voxels, monkeypatch
):
    monkeypatch.setattr(operations, "_SLAB_VOXELS", slab_voxels)
    generator = np.random.default_rng(shape)
    changes = 0
    pairs = [random_pair(generator, shape, labels, density) for density in np.repeat([0.15, 0.5, 0.9], 6)]
    pairs += [(np.full(shape, value, np.int16), pairs[0][1]) for value in (0, 1, 9)]
    for prediction, reference in pairs:
        pieces = cut(prediction, reference, labels, MM, holes=holes)
        assert holes or (pieces.voxels.sum() == (prediction != 0).sum() and (pieces.labels > 0).all())
        values, found = pieces.labels, prediction
        for _ in range(4):
            operation = random_operation(generator, holes=holes)
            before, found = found, apply([operation], found, spacing_mm=MM)
            values = relabelled(pieces, values, operation)
            changes += int((before != found).any())
            expected = confusion_matrix(reference, found, labels)
            np.testing.assert_array_equal(confusion(pieces, values, labels), expected)
    assert changes > 2


def test_shapes_must_agree():
    with pytest.raises(PredictionError, match="differ in shape"):
        cut(np.zeros((1, 2, 3), np.int16), np.zeros((1, 2, 4), np.int16), THREE, MM)


def test_long_chains_are_connected():
    order = np.random.default_rng(0).permutation(500)
    chain = np.stack([order[:-1], order[1:]], axis=1)
    assert set(connected(chain, 500)) == {0}
    broken = connected(np.delete(chain, 250, axis=0), 500)
    assert set(broken) == {int(order[:251].min()), int(order[251:].min())}
    np.testing.assert_array_equal(connected(np.zeros((0, 2), dtype=np.int64), 3), [0, 1, 2])
