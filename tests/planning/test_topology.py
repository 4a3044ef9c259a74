"""Where a U-Net pools, its feature maps, and the closed-form estimate of its memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from segflow.contracts.plan import Architecture
from segflow.network.unet import UNet
from segflow.planning.topology import activations, features_per_stage, per_stage, topology
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named

PLAIN = PlannerRecipe()
RESIDUAL = recipe_named("resenc").planning
SPACING = st.floats(0.1, 10).map(lambda mm: round(mm, 3))
SIZE = st.integers(2, 1200).map(lambda twice: twice / 2)


@st.composite
def grids(draw):
    """Spacing and size of two or three axes."""
    axes = draw(st.sampled_from([2, 3]))
    return tuple(
        draw(st.lists(strategy, min_size=axes, max_size=axes).map(tuple)) for strategy in (SPACING, SIZE)
    )


@given(grids())
def test_what_holds_for_every_topology(grid):
    found = topology(*grid, min_edge=4)
    strides, kernels, patch = np.asarray(found.strides), np.asarray(found.kernels), np.asarray(found.patch)
    size, divisor = np.asarray(grid[1]), np.prod(strides, axis=0)
    assert found.divisor == tuple(divisor)
    assert not (patch % divisor).any()  # the size, rounded up to the strides
    assert ((patch >= size) & (patch < size + divisor)).all()
    assert strides.shape == kernels.shape
    assert (strides[0] == 1).all()
    assert (strides[1:].max(axis=1) == 2).all()
    assert set(strides.ravel()) <= {1, 2}
    assert set(kernels.ravel()) <= {1, 3}
    assert (np.diff(kernels, axis=0) >= 0).all()  # once 3, always 3
    assert (kernels[-1] == 3).all()
    pooled = divisor > 1
    assert (patch // divisor >= 4)[pooled].all()
    assert not pooled[size < 8].any()


@given(grids(), st.permutations(range(3)))
def test_axes_are_treated_alike(grid, order):
    spacing_mm, size = grid
    assume(len(size) == 3)
    first = topology(spacing_mm, size, min_edge=4)
    turned = topology([spacing_mm[a] for a in order], [size[a] for a in order], min_edge=4)
    assert turned.patch == tuple(first.patch[a] for a in order)
    assert turned.strides == tuple(tuple(stride[a] for a in order) for stride in first.strides)


@given(grids(), st.integers(1, 9))
def test_only_ratios_of_spacings_count(grid, power):
    spacing_mm, size = grid
    scaled = [mm * 2.0**power for mm in spacing_mm]
    assert topology(scaled, size, min_edge=4) == topology(spacing_mm, size, min_edge=4)


@given(grids(), st.integers(1, 9))
def test_a_maximum_number_of_poolings(grid, most):
    found, free = topology(*grid, min_edge=4, max_poolings=most), topology(*grid, min_edge=4)
    assert max(found.divisor) <= 2**most
    if max(free.divisor) <= 2**most:
        assert found == free


@pytest.mark.parametrize(
    ("size", "patch", "n_stages"),
    [
        ((7, 7), (7, 7), 1),  # too short to pool
        ((8, 8), (8, 8), 2),
        ((8, 7), (8, 7), 1),  # one axis alone needs 12 voxels
        ((11, 7), (11, 7), 1),
        ((12, 7), (12, 7), 2),
        ((50.5, 35), (56, 40), 4),
    ],
)
def test_when_to_stop(size, patch, n_stages):
    found = topology((1.0, 1.0), size, min_edge=4)
    assert (found.patch, len(found.strides)) == (patch, n_stages)


@pytest.mark.parametrize(("edge", "n_stages"), [(7, 1), (8, 2), (11, 2)])
def test_a_lone_axis_that_is_treated_as_all_others(edge, n_stages):
    found = topology((1.0, 1.0), (edge, 7), min_edge=4, lone_axis_edges=2)
    assert len(found.strides) == n_stages


def test_axes_that_may_pool_go_on_alone():
    found = topology((4.0, 1.0, 1.0), (64, 64, 64), min_edge=4, max_poolings=2)
    assert found.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 1, 1), (2, 1, 1))
    assert found.patch == (64, 64, 64)


def test_coarse_axis_waits():
    found = topology((4.0, 1.0, 1.0), (32, 64, 64), min_edge=4)
    assert found.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    assert found.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))  # 4 mm / 2 mm is not below 2


def test_kernels_depend_on_axes_that_do_not_pool_too():
    found = topology((1.0, 3.0, 3.0), (7, 64, 64), min_edge=4)
    assert found.strides[1] == (1, 2, 2)
    assert found.kernels[0] == (3, 1, 1)


def test_features_double_up_to_the_limit_of_the_recipe():
    assert features_per_stage(PLAIN, 6, 3) == (32, 64, 128, 256, 320, 320)
    assert features_per_stage(PLAIN, 6, 2) == (32, 64, 128, 256, 512, 512)
    narrow = PlannerRecipe(base_features=4, max_features_3d=20)
    assert features_per_stage(narrow, 4, 3) == (4, 8, 16, 20)


@pytest.mark.parametrize(
    ("blocks", "n_stages", "expected"),
    [((1, 3, 4, 6), 6, (1, 3, 4, 6, 6, 6)), ((1, 3, 4, 6), 2, (1, 3)), ((2,), 3, (2, 2, 2))],
)
def test_the_last_number_of_blocks_is_repeated(blocks, n_stages, expected):
    assert per_stage(blocks, n_stages) == expected


@pytest.mark.parametrize(
    ("recipe", "patch", "min_edge", "expected"),
    [
        (PLAIN, (128, 128, 128), 4, 452_796_416),
        (RESIDUAL, (128, 128, 128), 4, 557_420_544),
        (RESIDUAL, (512, 512), 4, 129_703_936),
        (RESIDUAL, (512, 512), 8, 129_531_904),  # the method's value: one stage fewer than the planner
    ],
)
def test_memory_of_the_method(recipe, patch, min_edge, expected):
    found = topology((1.0,) * len(patch), patch, min_edge=min_edge)
    assert activations(found, recipe, n_outputs=3) == expected


def test_memory_by_hand():
    found = topology((1.0, 1.0), (8, 8), min_edge=4)  # two stages: 64 and 16 voxels, 32 and 64 features
    encoder = 2 * 32 * 64 + 2 * 64 * 16
    decoder = 3 * 32 * 64
    assert activations(found, PLAIN, n_outputs=5) == encoder + decoder + 5 * 64


@pytest.mark.parametrize("recipe", [PLAIN, RESIDUAL], ids=["plain", "residual"])
@pytest.mark.parametrize(
    ("spacing_mm", "patch"),
    [((1.0, 1.0), (64, 40)), ((3.6, 0.6, 0.6), (16, 64, 48)), ((1.0,) * 3, (32,) * 3)],
)
def test_memory_equals_a_count_over_the_network(recipe, spacing_mm, patch):
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
