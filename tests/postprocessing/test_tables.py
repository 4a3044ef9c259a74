"""What one case contributes."""

from __future__ import annotations

import numpy as np

from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.postprocessing.tables import case_table, targets_overlap

TWO = Labels((("background", 0), ("a", 1), ("b", 2)))
NESTED = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))
KEEP_1 = Operation(name="keep_largest", labels=(1,))


def load():
    return np.array([[[1, 1, 0, 1, 0, 2]]], dtype=np.uint8), np.array([[[1, 1, 0, 0, 0, 2]]], dtype=np.uint8)


def test_only_what_the_last_operation_can_change():
    table = case_table(load, TWO, [(), (KEEP_1,)])
    assert table == {((), 1): 0.8, ((), 2): 1, ((KEEP_1,), 1): 1}


def test_overlapping_targets_are_all_kept():
    table = case_table(load, NESTED, [(KEEP_1,)])
    assert table == {((KEEP_1,), (1, 2)): 1, ((KEEP_1,), 2): 1}


def test_empty_prediction():
    empty = np.zeros((1, 1, 6), dtype=np.uint8)
    assert case_table(lambda: (empty, load()[1]), TWO, [(KEEP_1,)]) == {((KEEP_1,), 1): 0}


def test_overlap():
    assert targets_overlap(NESTED)
    assert not targets_overlap(TWO)
