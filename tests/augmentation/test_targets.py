"""Targets of the network's outputs."""

import pytest
import torch
import torch.nn.functional as F

from segflow.augmentation.targets import make_targets, target_shapes
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
