"""What a case's pieces say is what its volume would."""

from __future__ import annotations

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.metrics.overlap import confusion_matrix
from segflow.selection import pieces as pieces_module
from segflow.selection.pieces import apply, confusion, connected, cut, relabelled

THREE = Labels((("background", 0), ("a", 1), ("b", 2), ("c", 3)))
IGNORE = Labels((*THREE.entries, ("ignore", 4)))
MM = (2.0, 1.0, 0.5)


@pytest.fixture(params=[1, 2**21], ids=["layer by layer", "at once"], autouse=True)
def slab(request, monkeypatch):
    """However large the parts are in which a volume is looked at."""
    monkeypatch.setattr(pieces_module, "_SLAB_VOXELS", request.param)


def random_operation(generator):
    labels = tuple(sorted({int(v) for v in generator.integers(1, 4, generator.integers(1, 4))}))
    kind = generator.choice(["keep_largest", "remove_small", "fill_holes"])
    values = {
        "keep_largest": {},
        "remove_small": {"min_volume_mm3": float(generator.integers(1, 12))},
        "fill_holes": {"fill": int(generator.choice(labels))},
    }[kind]
    return Operation(name=str(kind), labels=labels, **values)


def random_pair(generator, shape, labels, density):
    reference = generator.integers(0, len(labels.values) + (labels.ignore is not None), shape)
    prediction = generator.integers(0, 4, shape) * (generator.random(shape) < density)
    prediction[generator.random(shape) < 0.02] = 9  # no label of this data set
    return prediction.astype(np.int16), reference.astype(np.int16)


@pytest.mark.parametrize("labels", [THREE, IGNORE], ids=["classes", "ignore"])
@pytest.mark.parametrize("shape", [(1, 14, 15), (6, 7, 8), (3, 1, 40), (1, 1, 30), (5, 5, 1)], ids=str)
@pytest.mark.parametrize("density", [0.15, 0.5, 0.9])
def test_any_sequence_of_operations(labels, shape, density):
    generator = np.random.default_rng([*shape, int(100 * density)])
    changes = 0
    for _ in range(12):
        prediction, reference = random_pair(generator, shape, labels, density)
        pieces = cut(prediction, reference, labels, MM, holes=True)
        values, found = pieces.labels, prediction
        for _ in range(5):
            operation = random_operation(generator)
            after = apply([operation], found, spacing_mm=MM)
            values = relabelled(pieces, values, operation)
            changes += int((after != found).any())
            found = after
            np.testing.assert_array_equal(
                confusion(pieces, values, labels), confusion_matrix(reference, found, labels)
            )
    assert changes > 3


@pytest.mark.parametrize("shape", [(1, 14, 15), (6, 7, 8)], ids=str)
def test_without_holes_background_is_in_no_piece(shape):
    generator = np.random.default_rng(5)
    for _ in range(10):
        prediction, reference = random_pair(generator, shape, THREE, 0.3)
        pieces = cut(prediction, reference, THREE, MM)
        assert (pieces.labels > 0).all()
        assert pieces.voxels.sum() == (prediction > 0).sum()
        values, found = pieces.labels, prediction
        for labels in ((1, 2, 3), (2, 3), (3,), (1,)):
            operation = Operation(name="keep_largest", labels=labels)
            found = apply([operation], found, spacing_mm=MM)
            values = relabelled(pieces, values, operation)
            np.testing.assert_array_equal(
                confusion(pieces, values, THREE), confusion_matrix(reference, found, THREE)
            )


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
