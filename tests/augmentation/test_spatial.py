"""Rotation, scaling and deformation against plain implementations."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from segflow.augmentation.elastic import ElasticDraw, displacements
from segflow.augmentation.spatial import (
    SpatialDraw,
    initial_patch_shape,
    rotation_range_rad,
    source_box,
    transform_image,
    transform_labels,
    uses_dummy_2d,
)
from segflow.recipes.training import AugmentationRecipe

DRAWS_3D = [
    SpatialDraw((0.4, -0.3, 0.2), 1.2),
    SpatialDraw((-0.5, 0.1, 0.5), None),
    SpatialDraw(None, 0.75),
    SpatialDraw(None, 1.4),
    SpatialDraw(None, None, ElasticDraw(5.0, 2.0, 7)),
    SpatialDraw((0.4, -0.3, 0.2), 1.2, ElasticDraw(4.0, 1.5, 8)),
]
DRAWS_2D = [
    SpatialDraw((2.5,), 0.8),
    SpatialDraw((-0.3,), None),
    SpatialDraw(None, 1.3),
    SpatialDraw(None, 0.8, ElasticDraw(5.0, 2.0, 7)),
    SpatialDraw((-0.3,), None, ElasticDraw(3.0, 1.0, 8)),
]


def positions(draw, centre, patch_shape):
    """Deformation, then rotation about axis 0, then 1, then 2, written out."""
    d = len(patch_shape)
    rotation = np.eye(d)
    if draw.angles_rad is not None:
        c, s = np.cos(draw.angles_rad), np.sin(draw.angles_rad)
        if d == 2:
            rotation = np.array([[c[0], -s[0]], [s[0], c[0]]])
        else:
            about_0 = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
            about_1 = np.array([[c[1], 0, -s[1]], [0, 1, 0], [s[1], 0, c[1]]])
            about_2 = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
            rotation = about_2 @ about_1 @ about_0
    centred = np.indices(patch_shape).reshape(d, -1) - (np.array(patch_shape)[:, None] - 1) / 2
    if draw.elastic is not None:
        centred = centred + displacements(draw.elastic, patch_shape).double().numpy().reshape(d, -1)
    q = rotation @ (centred * (draw.scale or 1)) + np.array(centre)[:, None]
    return q.reshape(d, *patch_shape)


def sample(array, q):
    """Linear interpolation with zeros beyond the border, in float64."""
    padded = np.pad(array.astype(float), 40)
    return ndimage.map_coordinates(padded, q + 40, order=1)


def case(d):
    rng = np.random.default_rng(0)
    shape = (19, 24, 21)[:d]
    image = rng.normal(size=shape)
    labels = np.round(ndimage.gaussian_filter(rng.normal(size=shape), 2, mode="wrap") * 12).astype(int)
    return image, np.clip(labels, -1, 3), [(n - 1) / 2 + 0.25 for n in shape], (12, 16, 14)[:d]


@pytest.mark.parametrize("draw", DRAWS_2D + DRAWS_3D)
def test_image_is_interpolated_linearly(draw):
    d = 2 if draw in DRAWS_2D else 3
    image, _, centre, patch = case(d)
    expected = sample(image, positions(draw, centre, patch))
    moved = transform_image(draw, torch.tensor(image[None]).float(), centre=centre, patch_shape=patch)
    np.testing.assert_allclose(moved[0].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("draw", DRAWS_2D + DRAWS_3D)
def test_labels_are_the_argmax_of_interpolated_indicators(draw):
    d = 2 if draw in DRAWS_2D else 3
    _, labels, centre, patch = case(d)
    q = positions(draw, centre, patch)
    values = np.array([-1, 0, 1, 2, 3])
    scores = np.stack([sample(labels == value, q) for value in values])
    scores[0] += 1 - scores.sum(0)  # beyond the border
    top_two = np.sort(scores, axis=0)[-2:]
    clear = top_two[1] - top_two[0] > 1e-4
    expected = values[scores.argmax(0)]
    moved = transform_labels(
        draw, torch.tensor(labels[None], dtype=torch.int16), centre=centre, patch_shape=patch
    )
    assert moved.dtype == torch.int16
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(moved[0].numpy()[clear], expected[clear])


@pytest.mark.parametrize(
    ("labels", "centre", "expected"),
    [
        ([[1, 2], [3, 3]], (0.4, 0.4), 3),  # weights 0.36, 0.24 | 0.24, 0.16: 1 has 0.36, 3 has 0.40
        ([[1, 2], [3, 3]], (0.4, 0.5), 3),  # 0.3, 0.3 | 0.2, 0.2
        ([[1, 2], [3, 3]], (0.25, 0.25), 1),  # 0.5625, 0.1875 | 0.1875, 0.0625
        ([[1, 3], [3, 3]], (1 - math.sqrt(0.5),) * 2, 1),  # one half each; the nearest of the four is a 1
    ],
)
def test_the_label_of_most_weight_among_four_corners_and_the_nearest_if_there_is_a_tie(
    labels, centre, expected
):
    layer = torch.tensor([labels], dtype=torch.int16)
    found = transform_labels(SpatialDraw(None, 1.0), layer, centre=centre, patch_shape=(1, 1))
    assert found.item() == expected


def test_layers_are_transformed_alike():
    _, labels, centre, patch = case(2)
    layers = torch.tensor(np.stack([labels, labels * 0, labels[::-1]]), dtype=torch.int16)
    together = transform_labels(DRAWS_2D[0], layers, centre=centre, patch_shape=patch)
    alone = [
        transform_labels(DRAWS_2D[0], layer[None], centre=centre, patch_shape=patch)[0] for layer in layers
    ]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("draw", [*DRAWS_2D, *DRAWS_3D])
def test_the_source_box_is_all_that_is_looked_at(draw):
    d = 2 if draw in DRAWS_2D else 3
    image, labels, _, patch = case(d)
    read = image.shape
    first, shape = source_box(draw, read_shape=read, patch_shape=patch)
    box = tuple(slice(f, f + n) for f, n in zip(first, shape, strict=True))
    whole_centre = [(n - 1) / 2 for n in read]
    box_centre = [c - f for c, f in zip(whole_centre, first, strict=True)]
    for array, transform in ((image, transform_image), (labels, transform_labels)):
        tensor = torch.tensor(array[None], dtype=torch.float32 if array is image else torch.int16)
        whole = transform(draw, tensor, centre=whole_centre, patch_shape=patch)
        part = transform(draw, tensor[(slice(None), *box)], centre=box_centre, patch_shape=patch)
        torch.testing.assert_close(part, whole, atol=1e-5, rtol=1e-5)


def test_without_a_transform_the_central_patch_is_read():
    assert source_box(SpatialDraw(), read_shape=(73, 80, 64), patch_shape=(40, 56, 40)) == (
        (16, 12, 12),
        (40, 56, 40),
    )


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
    assert initial_patch_shape(patch, AugmentationRecipe()) == initial


@pytest.mark.parametrize(
    ("patch", "degrees", "dummy_2d"),
    [
        ((10, 30, 30), 30, False),
        ((10, 31, 30), 180, True),
        ((30, 10, 10), 30, False),
        ((60, 40), 180, False),
        ((61, 40), 15, False),
    ],
)
def test_rotation_ranges_and_thin_patches(patch, degrees, dummy_2d):
    assert rotation_range_rad(patch, AugmentationRecipe()) == pytest.approx(math.radians(degrees))
    assert uses_dummy_2d(patch, AugmentationRecipe()) is dummy_2d
