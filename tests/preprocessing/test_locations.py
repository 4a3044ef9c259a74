"""Voxels of targets, compared with an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from case_samples import CLASSES, IGNORE

from segflow.contracts.labels import Labels
from segflow.preprocessing.prepare import target_locations

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
    ("labels", "targets", "values", "shape"),
    [
        (CLASSES, (1, 2), (-1, 0, 1, 2, 3), (9, 10, 11)),
        (IGNORE, (1, 2, (-1, 0, 1, 2)), (-1, 0, 1, 2, 3), (9, 10, 11)),
        (REGIONS, ((2, 1), 2), (-1, 0, 1, 2, 3), (9, 10, 11)),
        (REGIONS_IGNORE, ((1, 2), 2, (-1, 0, 1, 2)), (-1, 0, 1, 2, 3), (9, 10, 11)),
        (CLASSES, (1, 2), (0, 2), (6, 6, 6)),  # an absent target draws nothing
        (CLASSES, (1, 2), (1, 2), (30, 30, 30)),  # many voxels are thinned
    ],
    ids=["classes", "ignore", "regions", "regions-ignore", "absent", "many"],
)
def test_like_the_oracle(labels, targets, values, shape, frozen):
    label_map = frozen(np.random.default_rng(0).choice(values, shape).astype(np.int8))
    found = target_locations(label_map, labels)
    expected = oracle(label_map, targets)
    assert list(found) == list(expected)
    for target, voxels in expected.items():
        assert found[target].shape == voxels.shape
        np.testing.assert_array_equal(found[target], voxels)


def test_one_percent_of_very_many_without_replacement(frozen):
    voxels = target_locations(frozen(np.ones((120, 120, 90), np.int8)), CLASSES)[1]
    assert voxels.shape == (12_960, 3)
    assert len(np.unique(np.ravel_multi_index(tuple(voxels.T), (120, 120, 90)))) == 12_960
