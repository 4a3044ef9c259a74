"""Voxels of targets, compared with an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from case_samples import CLASSES

from segflow.contracts.labels import Labels
from segflow.preprocessing.prepare import target_locations

IGNORE = Labels((("background", 0), ("a", 1), ("b", 2), ("ignore", 3)))
REGIONS = Labels((("background", 0), ("whole", (2, 1)), ("core", 2)), (1, 2))
REGIONS_IGNORE = Labels((("background", 0), ("whole", (1, 2)), ("core", 2), ("ignore", 3)), (1, 2))


def oracle(label_map, targets):
    """Coordinates of each label in C order; a target's labels in the order given; one generator for all."""
    random = np.random.RandomState(1234)
    found = {}
    for target in targets:
        members = target if isinstance(target, tuple) else (target,)
        pool = np.concatenate([np.argwhere(label_map == value) for value in members])
        if len(pool):
            n = max(min(10_000, len(pool)), math.ceil(0.01 * len(pool)))
            pool = pool[random.choice(len(pool), n, replace=False)]
        found[target] = pool
    return found


@pytest.mark.parametrize(
    ("labels", "targets"),
    [
        (CLASSES, (1, 2)),
        (IGNORE, (1, 2, (-1, 0, 1, 2))),
        (REGIONS, ((2, 1), 2)),
        (REGIONS_IGNORE, ((1, 2), 2, (-1, 0, 1, 2))),
    ],
    ids=["classes", "ignore", "regions", "regions-ignore"],
)
def test_like_the_oracle(labels, targets, frozen):
    label_map = frozen(np.random.default_rng(0).integers(-1, 4, (9, 10, 11)).astype(np.int8))
    found = target_locations(label_map, labels)
    expected = oracle(label_map, targets)
    assert list(found) == list(expected)
    for target, voxels in expected.items():
        np.testing.assert_array_equal(found[target], voxels)


def test_many_voxels_are_thinned(frozen):
    label_map = frozen(np.ones((30, 30, 30), np.int8))
    voxels = target_locations(label_map, CLASSES)[1]
    assert voxels.shape == (10_000, 3)
    assert len(np.unique(voxels, axis=0)) == 10_000  # without replacement
    np.testing.assert_array_equal(voxels, oracle(label_map, (1,))[1])


def test_one_percent_of_very_many(frozen):
    label_map = frozen(np.ones((120, 120, 90), np.int8))
    assert len(target_locations(label_map, CLASSES)[1]) == 12_960


def test_an_absent_target_draws_nothing(frozen):
    label_map = frozen(np.random.default_rng(0).integers(0, 2, (6, 6, 6)).astype(np.int8) * 2)
    found = target_locations(label_map, CLASSES)
    assert found[1].shape == (0, 3)
    np.testing.assert_array_equal(found[2], oracle(label_map, (2,))[2])  # as if there were no label 1
