"""Averages of probabilities."""

import numpy as np
import pytest
import torch

from segflow.prediction.sliding_window import sliding_window, with_probabilities
from segflow.recipes.inference import InferenceRecipe


def networks():
    """Two that disagree, one of them very sure."""
    return [lambda batch: torch.cat([batch, -batch], 1), lambda batch: torch.cat([-9 * batch, batch], 1)]


@pytest.mark.parametrize("has_regions", [False, True])
def test_networks_are_averaged_after_the_activation(has_regions):
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    x = image[0].astype(np.float64)
    logits = np.array([[x, -x], [-9 * x, x]])
    e = np.exp(logits)
    expected = (e / (1 + e) if has_regions else e / e.sum(1, keepdims=True)).mean(0)
    chosen = [with_probabilities(network, has_regions=has_regions) for network in networks()]
    chunks = sliding_window(chosen, image, (4, 4, 4), InferenceRecipe(), n_outputs=2, device="cpu")
    found = np.concatenate(list(chunks), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if not has_regions:
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_half_precision_is_left_before_the_activation():
    found = with_probabilities(lambda batch: batch.half(), has_regions=True)(torch.ones(1, 1, 2, 2))
    assert found.dtype == torch.float32
