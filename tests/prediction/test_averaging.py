"""Labels from the scores of one configuration or several."""

from __future__ import annotations

import numpy as np
import pytest
from case_samples import CLASSES, configuration_of, preparation_of, raw_case
from scipy.special import expit, softmax

from segflow.contracts.labels import Labels
from segflow.prediction.averaging import averaged_label_map
from segflow.prediction.restore import ScoreStream
from segflow.preprocessing.prepare import prepare_case

REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), (1, 2))
RAW = raw_case(np.ones((1, 9, 8, 7)), np.zeros((9, 8, 7)), (1.0, 1.0, 1.0))


def stream(seed, spacing_mm=(1.0, 1.0, 1.0), labels=CLASSES, *, are_probabilities=False):
    preparation = preparation_of(configuration_of(spacing_mm))
    record = prepare_case(RAW, preparation, labels).record
    scores = np.random.default_rng(seed).normal(size=(labels.n_outputs, *record.shape)).astype(np.float32)
    if are_probabilities:
        scores = softmax(scores, axis=0)
    made = ScoreStream(
        chunks=[scores], shape=record.shape, preparation=preparation, are_probabilities=are_probabilities
    )
    return made, record, scores


def labelled(streams, labels=CLASSES, **how):
    return averaged_label_map([each for each, *_ in streams], streams[0][1], labels, threads=2, **how)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.5, 0.8, 1.0)])
def test_labels_do_not_depend_on_whether_probabilities_are_kept(labels, spacing_mm):
    kept = []
    plain = labelled([stream(0, spacing_mm, labels)], labels)
    np.testing.assert_array_equal(labelled([stream(0, spacing_mm, labels)], labels, keep=kept.append), plain)
    probabilities = np.concatenate(kept, axis=1)
    assert probabilities.shape == (labels.n_outputs, 9, 8, 7)
    regions = np.where(probabilities[1] > 0.5, 2, probabilities[0] > 0.5)
    expected = regions if labels.has_regions else probabilities.argmax(axis=0)
    assert (plain == expected).mean() > 0.999  # rounding decides ties


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
def test_probabilities_of_several_are_averaged(labels):
    kept, streams = [], [stream(seed, labels=labels) for seed in range(2)]
    found = labelled(streams, labels, keep=kept.append)
    activation = expit if labels.has_regions else lambda logits: softmax(logits, axis=0)
    expected = np.mean([activation(scores.astype(np.float64)) for *_, scores in streams], axis=0)
    np.testing.assert_allclose(np.concatenate(kept, axis=1), expected, atol=1e-6)
    regions = np.where(expected[1] > 0.5, 2, expected[0] > 0.5)
    wanted = regions if labels.has_regions else expected.argmax(axis=0)
    np.testing.assert_array_equal(found, wanted)
    alone = labelled([stream(0, labels=labels)], labels)
    assert (found != alone).mean() > 0.1


def test_configurations_of_different_spacing_are_averaged_on_the_raw_grid():
    kept, fine, coarse = [], stream(0), stream(1, (2.0, 2.0, 2.0))
    assert fine[1].shape != coarse[1].shape
    labelled([fine, coarse], keep=kept.append)
    singles = []
    for one in (stream(0), stream(1, (2.0, 2.0, 2.0))):
        parts = []
        labelled([one], keep=parts.append)
        singles.append(np.concatenate(parts, axis=1))
    np.testing.assert_allclose(np.concatenate(kept, axis=1), np.mean(singles, axis=0), atol=1e-6)


def test_probabilities_are_not_activated_again():
    kept, only = [], stream(0, are_probabilities=True)
    labelled([only], keep=kept.append)
    np.testing.assert_allclose(np.concatenate(kept, axis=1), only[2], atol=1e-6)
