"""The closed-form memory estimate: noted values of the method, and a count over the real networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from segflow.contracts.plan import Architecture
from segflow.network.unet import UNet
from segflow.planning.topology import activations, features_per_stage, per_stage, topology
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named

PLAIN = PlannerRecipe()
RESIDUAL = recipe_named("resenc").planning


@pytest.mark.parametrize(
    ("recipe", "patch", "expected"),
    [
        (PLAIN, (128, 128, 128), 452_796_416),
        (RESIDUAL, (128, 128, 128), 557_420_544),
        (RESIDUAL, (512, 512), 129_703_936),
    ],
)
def test_values_of_the_method(recipe, patch, expected):
    found = topology((1.0,) * len(patch), patch, min_edge=4)
    assert activations(found, recipe, n_outputs=3) == expected


def test_noted_value_of_a_flat_network_with_seven_stages():
    found = topology((1.0, 1.0), (512, 512), min_edge=8)  # one pooling fewer than the planner makes
    assert len(found.strides) == 7
    assert activations(found, RESIDUAL, n_outputs=3) == 129_531_904


def test_by_hand():
    found = topology((1.0, 1.0), (8, 8), min_edge=4)  # two stages: 64 and 16 voxels, 32 and 64 features
    encoder = 2 * 32 * 64 + 2 * 64 * 16
    decoder = 3 * 32 * 64
    assert activations(found, PLAIN, n_outputs=5) == encoder + decoder + 5 * 64


@pytest.mark.parametrize("recipe", [PLAIN, RESIDUAL], ids=["plain", "residual"])
@pytest.mark.parametrize(
    ("spacing_mm", "patch"),
    [((1.0, 1.0), (64, 40)), ((3.6, 0.6, 0.6), (16, 64, 48)), ((1.0,) * 3, (32,) * 3)],
)
def test_equals_a_count_over_the_network(recipe, spacing_mm, patch):
    found = topology(spacing_mm, patch, min_edge=4)
    n_stages = len(found.strides)
    architecture = Architecture(
        encoder=recipe.encoder,
        features=features_per_stage(recipe, n_stages, len(patch)),
        strides=found.strides,
        kernels=found.kernels,
        encoder_blocks=per_stage(recipe.encoder_blocks, n_stages),
        decoder_blocks=(recipe.decoder_blocks,) * (n_stages - 1),
    )
    assert activations(found, recipe, n_outputs=4) == counted(architecture, found.patch, n_outputs=4)


def counted(architecture, patch, *, n_outputs):
    """Output elements of every convolution of one forward pass, without computing any."""
    sizes = []
    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    with torch.device("meta"):
        network = UNet(architecture, input_channels=1, output_channels=n_outputs)
        for module in network.modules():
            if isinstance(module, convolutions):
                module.register_forward_hook(lambda _module, _input, output: sizes.append(output.numel()))
        network(torch.empty(1, 1, *patch))
    assert sum(sizes) > n_outputs * math.prod(patch)
    return sum(sizes)


def test_last_entry_is_repeated():
    assert per_stage((1, 3, 4, 6), 6) == (1, 3, 4, 6, 6, 6)
    assert per_stage((1, 3, 4, 6), 2) == (1, 3)
    assert per_stage((2,), 3) == (2, 2, 2)
