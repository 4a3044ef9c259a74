"""From logits to labels."""

from __future__ import annotations

import numpy as np
import pytest
from case_samples import CLASSES, REGIONS, labels_of
from scipy.special import expit, softmax

from segflow.volumes.labelmaps import label_dtype, one_hot, pick_labels, probabilities


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["softmax", "sigmoid"])
def test_activation(labels, frozen):
    logits = np.random.default_rng(0).normal(0, 10, (labels.n_outputs, 2, 3, 4)).astype(np.float32)
    logits[:, 0, 0, 0] = np.linspace(-1e4, 1e4, labels.n_outputs)  # must not overflow
    found = probabilities(frozen(logits), labels)
    assert found.dtype == np.float32
    exact = logits.astype(np.float64)
    expected = expit(exact) if labels.has_regions else softmax(exact, axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "scores", "are_probabilities", "expected"),
    [
        # The highest class, and the lowest on ties.
        (CLASSES, [[0.2, 0.4, 0.1], [0.3, 0.4, 0.45], [0.5, 0.2, 0.45]], True, [2, 0, 1]),
        # Later regions lie on top where they are likely; one half is not above one half.
        (REGIONS, [[0.9, 0.9, 0.1, 0.5], [0.1, 0.6, 0.6, 0.5]], True, [1, 2, 2, 0]),
        (REGIONS, [[2.0, -1.0, 0.0], [-3.0, 0.1, 0.0]], False, [1, 2, 0]),
    ],
)
def test_labels_of_scores(labels, scores, are_probabilities, expected, frozen):
    scores = frozen(np.array(scores, np.float32))
    found = pick_labels(iter(scores[:, None, None]), labels, are_probabilities=are_probabilities)
    np.testing.assert_array_equal(found, [[expected]])
    assert found.dtype == np.uint8


@pytest.mark.parametrize(("n", "dtype"), [(1, np.uint8), (254, np.uint8), (255, np.uint16), (300, np.uint16)])
def test_smallest_type(n, dtype):
    assert label_dtype(labels_of(n)) is dtype


def test_one_hot(frozen):
    found = one_hot(frozen(np.array([[[0, 1, 2, -1, 1]]], np.int8)), (1, 2))
    np.testing.assert_array_equal(found, [[[[0, 1, 0, 0, 1]]], [[[0, 0, 1, 0, 0]]]])
    assert found.dtype == np.float32
