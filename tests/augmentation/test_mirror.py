"""Mirroring."""

import numpy as np
import pytest
import torch

from segflow.augmentation.mirror import MirrorDraw, draw_mirror, mirror
from segflow.recipes.training import AugmentationRecipe


def test_image_and_labels_turn_the_same_way():
    labels = torch.arange(24).reshape(2, 3, 4)
    image = labels[None].repeat(2, 1, 1, 1)
    draw = MirrorDraw((0, 2))
    expected = labels.numpy()[::-1, :, ::-1]
    np.testing.assert_array_equal(mirror(labels, draw, dimensions=3).numpy(), expected)
    np.testing.assert_array_equal(mirror(image, draw, dimensions=3).numpy()[1], expected)


def test_no_axis_no_copy():
    labels = torch.arange(24).reshape(2, 3, 4)
    assert mirror(labels, MirrorDraw(()), dimensions=3) is labels


def test_each_axis_half_the_time():
    rng = np.random.default_rng(0)
    draws = [draw_mirror(rng, AugmentationRecipe(), dimensions=2).axes for _ in range(2000)]
    for axes in [(), (0,), (1,), (0, 1)]:
        assert draws.count(axes) / 2000 == pytest.approx(0.25, abs=0.03)
