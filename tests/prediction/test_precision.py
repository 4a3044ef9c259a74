"""In which arithmetic a network computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from segflow.prediction.sliding_window import in_precision, sliding_window
from segflow.recipes.inference import InferenceRecipe


def convolution():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv3d(1, 2, 3, padding="same").eval()


@pytest.mark.parametrize(
    ("precision", "computes_in"),
    [
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ],
)
def test_what_the_network_computes_in_and_what_comes_out(precision, computes_in):
    network, seen = convolution(), []
    network.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with torch.inference_mode():
        found = in_precision(network, precision, "cpu")(torch.ones(1, 1, 4, 4, 4))
    assert seen == [computes_in]
    assert found.dtype == torch.float32


@pytest.mark.parametrize(("precision", "least", "most"), [("float32", 0, 0), ("bfloat16", 1e-5, 0.05)])
def test_the_recipe_decides(precision, least, most):
    image = np.random.default_rng(0).normal(size=(1, 9, 12, 8)).astype(np.float32)

    def predicted(recipe):
        chunks = sliding_window([convolution()], image, (8, 8, 8), recipe, n_outputs=2, device="cpu")
        return np.concatenate(list(chunks), axis=1)

    difference = np.abs(predicted(InferenceRecipe(precision=precision)) - predicted(InferenceRecipe())).max()
    assert least <= difference <= most
