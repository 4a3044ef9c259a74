"""All transforms together."""

import dataclasses

import numpy as np
import pytest
import torch

from segflow.augmentation.pipeline import Patch, Settings, augment, draw_augmentation, needed_box, plain
from segflow.augmentation.spatial import SpatialDraw, initial_patch_shape
from segflow.augmentation.targets import CascadeDraw
from segflow.contracts.labels import Labels
from segflow.recipes.training import AugmentationRecipe

LABELS = Labels((("background", 0), ("a", 1), ("b", 2)))


def settings(patch_shape, **changes):
    values = {
        "recipe": AugmentationRecipe(),
        "patch_shape": patch_shape,
        "target_shapes": (patch_shape, tuple(n // 2 for n in patch_shape)),
        "labels": LABELS,
        "zero_outside": (False, False),
    }
    return Settings(**(values | changes))


def patch(shape, *, previous=False):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 3, shape, generator=generator, dtype=torch.int16)
    return Patch(torch.randn(2, *shape, generator=generator), labels, labels.clone() if previous else None)


def cut(whole, first, shape):
    box = tuple(slice(f, f + n) for f, n in zip(first, shape, strict=True))
    return Patch(whole.image[(slice(None), *box)].clone(), whole.labels[box].clone())


def quiet(rng, chosen, **changes):
    """A draw of which only what is named fires."""
    draw = draw_augmentation(rng, chosen)
    nothing = {f.name: None for f in dataclasses.fields(draw)}
    nothing |= {"spatial": SpatialDraw(), "mirror_axes": (), "cascade": CascadeDraw()}
    return dataclasses.replace(draw, **(nothing | changes))


@pytest.mark.parametrize("patch_shape", [(16, 12), (12, 16, 12), (4, 16, 14)])
def test_shapes_types_and_replay(patch_shape):
    chosen = settings(patch_shape)
    read = initial_patch_shape(patch_shape, chosen.recipe)
    for seed in range(20):
        draw = draw_augmentation(np.random.default_rng(seed), chosen)
        assert draw == draw_augmentation(np.random.default_rng(seed), chosen)
        first, shape = needed_box(draw, chosen, read_shape=read)
        example, again = (
            augment(cut(patch(read), first, shape), draw, chosen, read_shape=read) for _ in range(2)
        )
        assert example.image.shape == (2, *patch_shape)
        assert example.image.dtype == torch.float32
        assert torch.isfinite(example.image).all()
        assert [tuple(target.shape) for target in example.targets] == list(chosen.target_shapes)
        assert example.targets[0].min() >= 0
        assert torch.equal(example.image, again.image)
        assert torch.equal(example.targets[0], again.targets[0])


def test_nothing_fires_is_the_central_crop():
    chosen = settings((12, 16, 12))
    read = initial_patch_shape((12, 16, 12), chosen.recipe)
    draw = quiet(np.random.default_rng(0), chosen)
    first, shape = needed_box(draw, chosen, read_shape=read)
    whole = patch(read)
    part = cut(whole, first, shape)
    example = augment(part, draw, chosen, read_shape=read)
    assert first == tuple(r // 2 - p // 2 for r, p in zip(read, (12, 16, 12), strict=True))
    assert torch.equal(example.image, cut(whole, first, shape).image)
    assert torch.equal(example.targets[0], cut(whole, first, shape).labels.clamp(min=0))


def test_thin_patches_are_transformed_in_plane():
    chosen = settings((4, 16, 14))
    read = initial_patch_shape((4, 16, 14), chosen.recipe)
    draw = quiet(np.random.default_rng(0), chosen, spatial=SpatialDraw((0.4,), 0.9))
    first, shape = needed_box(draw, chosen, read_shape=read)
    assert (first[0], shape[0]) == (0, 4)
    part = cut(patch(read), first, shape)
    example = augment(part, draw, chosen, read_shape=read)
    one = settings((16, 14))
    for z in range(4):
        layer = Patch(part.image[:, z].clone(), part.labels[z])
        alone = augment(layer, draw, one, read_shape=read[1:])
        torch.testing.assert_close(example.image[:, z], alone.image)
        assert torch.equal(example.targets[0][z], alone.targets[0])


def test_channels_with_a_mask_are_zero_outside():
    chosen = settings((8, 8, 8), zero_outside=(False, True))
    whole = patch((8, 8, 8))
    draw = quiet(np.random.default_rng(0), chosen, mirror_axes=(1,))
    example = augment(cut(whole, (0, 0, 0), (8, 8, 8)), draw, chosen, read_shape=(8, 8, 8))
    outside = torch.flip(whole.labels < 0, [1])
    assert not example.image[1][outside].any()
    assert example.image[1][~outside].all()
    assert example.image[0].all()


def test_cascade_adds_a_channel_per_foreground_label():
    chosen = settings((8, 8, 8), cascade=True)
    whole = patch((8, 8, 8), previous=True)
    image = plain(whole, chosen).image
    assert image.shape == (4, 8, 8, 8)
    assert torch.equal(image[2:], torch.stack([whole.labels == 1, whole.labels == 2]).float())
    draw = draw_augmentation(np.random.default_rng(3), chosen)
    read = initial_patch_shape((8, 8, 8), chosen.recipe)
    box = needed_box(draw, chosen, read_shape=read)
    source = patch(box[1], previous=True)
    assert augment(source, draw, chosen, read_shape=read).image.shape == (4, 8, 8, 8)


def test_validation_examples_are_plain():
    chosen = settings((8, 8, 8))
    whole = patch((8, 8, 8))
    example = plain(whole, chosen)
    assert torch.equal(example.image, whole.image)
    assert torch.equal(example.targets[0], whole.labels.clamp(min=0))


def test_mirrored_axes_of_image_and_labels():
    chosen = settings((8, 6, 4))
    whole = patch((8, 6, 4))
    draw = quiet(np.random.default_rng(0), chosen, mirror_axes=(0, 2))
    example = augment(cut(whole, (0, 0, 0), (8, 6, 4)), draw, chosen, read_shape=(8, 6, 4))
    assert torch.equal(example.image, torch.flip(whole.image, [1, 3]))
    assert torch.equal(example.targets[0], torch.flip(whole.labels, [0, 2]).clamp(min=0))


def test_each_axis_is_mirrored_half_the_time():
    rng = np.random.default_rng(0)
    draws = [draw_augmentation(rng, settings((8, 6))).mirror_axes for _ in range(2000)]
    for axes in [(), (0,), (1,), (0, 1)]:
        assert draws.count(axes) / 2000 == pytest.approx(0.25, abs=0.03)
