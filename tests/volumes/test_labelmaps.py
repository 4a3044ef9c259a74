"""From logits to labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from segflow.contracts.labels import Labels
from segflow.volumes.labelmaps import label_dtype, one_hot, pick_labels, probabilities

CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), regions_class_order=(1, 2))


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["softmax", "sigmoid"])
def test_activation(labels, frozen):
    logits = np.random.default_rng(0).normal(0, 10, (labels.n_outputs, 2, 3, 4)).astype(np.float32)
    found = probabilities(frozen(logits), labels)
    assert found.dtype == np.float32
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(
        found, expit(exact) if labels.has_regions else softmax(exact, axis=0), atol=1e-6
    )


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


@pytest.mark.parametrize(
    ("scores", "are_probabilities", "expected"),
    [
        ([[0.9, 0.9, 0.1, 0.5], [0.1, 0.6, 0.6, 0.5]], True, [1, 2, 2, 0]),  # one half is not above one half
        ([[2.0, -1.0, 0.0], [-3.0, 0.1, 0.0]], False, [1, 2, 0]),
    ],
)
def test_later_regions_lie_on_top_where_likely(scores, are_probabilities, expected, frozen):
    scores = frozen(np.array(scores, np.float32))
    found = pick_labels(scores[:, None, None], REGIONS, are_probabilities=are_probabilities)
    np.testing.assert_array_equal(found, [[expected]])


@pytest.mark.parametrize(("n", "dtype"), [(1, np.uint8), (254, np.uint8), (255, np.uint16), (300, np.uint16)])
def test_smallest_type(n, dtype):
    assert label_dtype(Labels(tuple((str(value), value) for value in range(n + 1)))) is dtype


def test_one_hot(frozen):
    found = one_hot(frozen(np.array([[[0, 1, 2, -1, 1]]], np.int8)), (1, 2))
    np.testing.assert_array_equal(found, [[[[0, 1, 0, 0, 1]]], [[[0, 0, 1, 0, 0]]]])
    assert found.dtype == np.float32
