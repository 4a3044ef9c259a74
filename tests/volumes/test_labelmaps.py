"""From logits to labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from segflow.contracts.labels import Labels
from segflow.volumes.labelmaps import label_dtype, one_hot, pick_labels, probabilities

CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))


def many(n_foreground):
    return Labels(tuple((str(value), value) for value in range(n_foreground + 1)))


def test_softmax(frozen):
    logits = frozen(np.random.default_rng(0).normal(0, 10, (3, 2, 3, 4)).astype(np.float32))
    found = probabilities(logits, CLASSES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits.astype(np.float64), axis=0), atol=1e-6)


def test_sigmoid(frozen):
    logits = frozen(np.random.default_rng(0).normal(0, 10, (2, 2, 3, 4)).astype(np.float32))
    found = probabilities(logits, REGIONS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expit(logits.astype(np.float64)), atol=1e-6)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["softmax", "sigmoid"])
def test_extreme_logits_do_not_overflow(labels, frozen):
    n = labels.n_outputs
    logits = frozen(np.linspace(-1e4, 1e4, n, dtype=np.float32).reshape(n, 1, 1, 1))
    found = probabilities(logits, labels)
    np.testing.assert_array_equal(found.ravel(), [0] * (n - 1) + [1])


def test_highest_class_and_lowest_on_ties(frozen):
    scores = frozen(np.array([[0.2, 0.4, 0.1], [0.3, 0.4, 0.45], [0.5, 0.2, 0.45]], np.float32))
    found = pick_labels(iter(scores[:, None, None]), CLASSES, are_probabilities=True)
    np.testing.assert_array_equal(found, [[[2, 0, 1]]])
    assert found.dtype == np.uint8


def test_later_regions_lie_on_top(frozen):
    scores = frozen(np.array([[0.9, 0.9, 0.1, 0.5], [0.1, 0.6, 0.6, 0.5]], np.float32))
    found = pick_labels(scores[:, None, None], REGIONS, are_probabilities=True)
    np.testing.assert_array_equal(found, [[[1, 2, 2, 0]]])  # one half is not above one half


def test_a_region_is_there_if_its_logit_is_positive(frozen):
    logits = frozen(np.array([[2.0, -1.0, 0.0], [-3.0, 0.1, 0.0]], np.float32))
    found = pick_labels(logits[:, None, None], REGIONS, are_probabilities=False)
    np.testing.assert_array_equal(found, [[[1, 2, 0]]])


def test_scores_are_left_as_they_are(frozen):
    scores = frozen(np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0]], np.float32))
    np.testing.assert_array_equal(
        pick_labels(scores[:, None, None], CLASSES, are_probabilities=False), [[[1, 2]]]
    )


@pytest.mark.parametrize(("n", "dtype"), [(1, np.uint8), (254, np.uint8), (255, np.uint16), (300, np.uint16)])
def test_smallest_type(n, dtype):
    assert label_dtype(many(n)) is dtype


def test_one_hot(frozen):
    found = one_hot(frozen(np.array([[[0, 1, 2, -1, 1]]], np.int8)), (1, 2))
    np.testing.assert_array_equal(found, [[[[0, 1, 0, 0, 1]]], [[[0, 0, 1, 0, 0]]]])
    assert found.dtype == np.float32
