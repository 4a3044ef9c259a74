"""Targets of the network's outputs, and imperfect labels of a previous stage."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from segflow.augmentation.targets import (
    CascadeDraw,
    Morphology,
    Removal,
    make_targets,
    one_hot,
    perturb_,
    target_shapes,
)
from segflow.contracts.labels import Labels

CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2), ("ignore", 3)), (1, 2))
STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))


def test_shapes_of_scored_outputs():
    assert target_shapes((8, 16, 24), STRIDES, n_scored=2) == ((8, 16, 24), (8, 8, 12))
    assert target_shapes((8, 16, 24), STRIDES, n_scored=3)[2] == (4, 4, 6)
    assert target_shapes((8, 16), ((1, 1), (2, 2)), n_scored=1) == ((8, 16),)


@pytest.fixture
def label_map():
    return torch.randint(-1, 4, (8, 16, 24), generator=torch.Generator().manual_seed(0), dtype=torch.int16)


def test_classes_are_resized_to_the_nearest_voxel(label_map):
    before = label_map.clone()
    full, half = make_targets(label_map, CLASSES, shapes=((8, 16, 24), (8, 8, 12)))
    expected = label_map.clamp(min=0)
    assert torch.equal(full, expected)
    resized = F.interpolate(expected[None, None].float(), size=(8, 8, 12), mode="nearest-exact")[0, 0]
    assert torch.equal(half, resized.to(torch.int16))
    assert torch.equal(label_map, before)


def test_regions_become_channels_with_ignore_last(label_map):
    full, half = make_targets(label_map, REGIONS, shapes=((8, 16, 24), (8, 8, 12)))
    assert full.dtype == torch.bool
    assert half.shape == (3, 8, 8, 12)
    assert torch.equal(full[0], (label_map == 1) | (label_map == 2))
    assert torch.equal(full[1], label_map == 2)
    assert torch.equal(full[2], label_map == 3)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
def test_targets_of_a_batch(label_map, labels):
    shapes = ((8, 16, 24), (8, 8, 12))
    maps = [label_map, label_map.flip(0)]
    alone = zip(*(make_targets(one, labels, shapes=shapes) for one in maps), strict=True)
    together = make_targets(torch.stack(maps), labels, shapes=shapes)
    assert all(torch.equal(scale, torch.stack(ones)) for scale, ones in zip(together, alone, strict=True))


OPERATIONS = {
    "dilate": ndimage.binary_dilation,
    "erode": lambda mask, ball: ndimage.binary_erosion(mask, ball, border_value=1),
    "close": lambda mask, ball: OPERATIONS["erode"](ndimage.binary_dilation(mask, ball), ball),
    "open": lambda mask, ball: ndimage.binary_dilation(OPERATIONS["erode"](mask, ball), ball),
}


@pytest.fixture
def mask():
    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(20, 22, 24)), 3)
    return field > 0.02


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_morphology_with_a_ball(mask, operation, radius):
    r = int(radius)
    ball = (np.indices((2 * r + 1,) * 3) - r).astype(float).__pow__(2).sum(0) <= radius**2
    channels = torch.tensor(mask[None]).float()
    perturb_(channels, CascadeDraw((Morphology(0, operation, radius),)), max_share=0.15)
    np.testing.assert_array_equal(channels[0].numpy() > 0, OPERATIONS[operation](mask, ball))


def test_added_voxels_are_taken_from_the_other_labels():
    channels = torch.zeros(2, 1, 9)
    channels[0, 0, :3] = 1
    channels[1, 0, 3:6] = 1
    perturb_(channels, CascadeDraw((Morphology(0, "dilate", 1.0),)), max_share=0.15)
    assert channels[0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert channels[1, 0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(("choice", "gone"), [(0.0, slice(0, 1)), (0.99, slice(3, 5))])
def test_one_small_component_is_removed(choice, gone):
    channels = torch.zeros(1, 4, 10)
    channels[0, 0, [0, 3, 4]] = 1
    channels[0, 2:, 2:8] = 1  # 12 of 40 voxels: not small
    expected = channels.clone()
    expected[0, 0, gone] = 0
    perturb_(channels, CascadeDraw(removals=(Removal(0, choice),)), max_share=0.15)
    assert torch.equal(channels, expected)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_labels(operation, value):
    channels = torch.full((1, 4, 4), value)
    draw = CascadeDraw((Morphology(0, operation, 3.0),), (Removal(0, 0.5),))
    perturb_(channels, draw, max_share=0.15)
    assert torch.equal(channels, torch.full((1, 4, 4), value))


def test_one_channel_per_label():
    channels = one_hot(torch.tensor([[-1, 0], [1, 2]]), (1, 2))
    assert channels.tolist() == [[[0, 0], [1, 0]], [[0, 0], [0, 1]]]
