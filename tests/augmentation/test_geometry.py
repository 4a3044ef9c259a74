"""Rotation ranges and read shapes against the method's check values."""

import math

import pytest

from segflow.augmentation.spatial import initial_patch_shape, rotation_range_rad, uses_dummy_2d
from segflow.recipes.training import AugmentationRecipe

RECIPE = AugmentationRecipe()


@pytest.mark.parametrize(
    ("patch", "initial"),
    [
        ((128, 128, 128), (205, 205, 205)),
        ((40, 56, 40), (73, 80, 64)),
        ((80, 192, 160), (194, 289, 210)),
        ((20, 320, 256), (20, 376, 376)),
        ((56, 40), (65, 65)),
        ((320, 256), (376, 376)),
        ((512, 512), (602, 602)),
    ],
)
def test_initial_patch_of_the_method(patch, initial):
    assert initial_patch_shape(patch, RECIPE) == initial


@pytest.mark.parametrize(
    ("patch", "degrees"),
    [((40, 56, 40), 30), ((20, 320, 256), 180), ((56, 40), 180), ((60, 40), 180), ((61, 40), 15)],
)
def test_rotation_ranges(patch, degrees):
    assert rotation_range_rad(patch, RECIPE) == pytest.approx(math.radians(degrees))


@pytest.mark.parametrize(
    ("patch", "dummy"),
    [((10, 30, 30), False), ((10, 31, 30), True), ((10, 31), False), ((30, 10, 10), False)],
)
def test_dummy_2d_for_thin_patches(patch, dummy):
    assert uses_dummy_2d(patch, RECIPE) is dummy
