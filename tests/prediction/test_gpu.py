"""On a GPU: the same scores as on the CPU, wherever the sums are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segflow.contracts.plan import Architecture
from segflow.network.unet import arranged, build_network
from segflow.prediction.sliding_window import sliding_window
from segflow.recipes.inference import InferenceRecipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

PLAN = Architecture(
    encoder="plain",
    features=(8, 16, 32),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    kernels=((3, 3, 3),) * 3,
    encoder_blocks=(2, 2, 2),
    decoder_blocks=(2, 2),
)


def predicted(device, precision):
    image = np.random.default_rng(0).normal(size=(1, 30, 41, 27)).astype(np.float32)
    network = build_network(PLAN, input_channels=1, output_channels=2, seed=0).eval()
    recipe = InferenceRecipe(precision=precision)
    chunks = sliding_window(
        [arranged(network, device)], image, (16, 24, 16), recipe, n_outputs=2, device=device
    )
    return np.concatenate(list(chunks), axis=1)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.01), ("auto", 0.05)])
@pytest.mark.parametrize("share", [0.5, 0.0], ids=["sums on the GPU", "sums in main memory"])
def test_scores_equal_those_of_the_cpu(precision, tolerance, share, monkeypatch):
    monkeypatch.setattr("segflow.prediction.sliding_window._GPU_SHARE", share)
    expected = predicted("cpu", "float32")
    found = predicted("cuda", precision)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
