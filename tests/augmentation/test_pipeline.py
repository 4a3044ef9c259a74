"""All transforms together: how often and how far they go, what is read for them, and in which order they come."""

import dataclasses

import numpy as np
import pytest
import torch

from segflow.augmentation import intensity
from segflow.augmentation.pipeline import Patch, Settings, augment, draw_augmentation, needed_box, plain
from segflow.augmentation.spatial import SpatialDraw
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


def only(chosen, **changes):
    """A draw of which only what is named happens."""
    draw = draw_augmentation(np.random.default_rng(0), chosen)
    nothing = {"spatial": SpatialDraw(), "changes": (), "mirror_axes": (), "cascade": CascadeDraw()}
    return dataclasses.replace(draw, **(nothing | changes))


@pytest.fixture(scope="module")
def draws():
    recipe = AugmentationRecipe(p_elastic=0.3, elastic_scale=(0.1, 0.3), elastic_magnitude=(0.05, 0.2))
    chosen = settings((20, 50, 50), recipe=recipe, cascade=True)
    rng = np.random.default_rng(0)
    return [draw_augmentation(rng, chosen) for _ in range(4000)]


def changed_by(function, part=lambda drawn: drawn):
    return lambda draw: next((part(drawn) for change, drawn in draw.changes if change is function), None)


#: What is drawn, its probability, the range of its values, and the share of channels that it is drawn for.
DRAWN = {
    "angle": (lambda draw: draw.spatial.angles_rad, 0.2, (-np.pi / 6, np.pi / 6), 1),
    "scale": (lambda draw: draw.spatial.scale, 0.2, (0.7, 1.4), 1),
    "distance": (lambda draw: draw.spatial.elastic and draw.spatial.elastic.distance, 0.3, (5, 15), 1),
    "noise": (changed_by(intensity.add_noise_, lambda noise: noise[0]), 0.1, (0, 0.1), 1),
    "blur": (changed_by(intensity.blur_), 0.2, (0.5, 1), 0.5),
    "brightness": (changed_by(intensity.change_brightness_), 0.15, (0.75, 1.25), 1),
    "contrast": (changed_by(intensity.change_contrast_), 0.15, (0.75, 1.25), 1),
    "low resolution": (changed_by(intensity.lower_resolution_, lambda low: low[1]), 0.25, (0.5, 1), 0.5),
    "inverted gamma": (changed_by(intensity.bend_gamma_inverted_), 0.1, (0.7, 1.5), 1),
    "gamma": (changed_by(intensity.bend_gamma_), 0.3, (0.7, 1.5), 1),
}


@pytest.mark.parametrize(("drawn", "p", "limits", "share"), DRAWN.values(), ids=DRAWN)
def test_how_often_and_how_far(draws, drawn, p, limits, share):
    happened = [values for values in map(drawn, draws) if values is not None]
    assert len(happened) / len(draws) == pytest.approx(p, abs=0.02)
    per_channel = [values if isinstance(values, tuple) else (values,) for values in happened]
    chosen = [value for values in per_channel for value in values if value is not None]
    assert len(chosen) / sum(map(len, per_channel)) == pytest.approx(share, abs=0.05)
    values = np.hstack([np.ravel(value) for value in chosen])
    assert (values.min(), values.max()) == pytest.approx(limits, abs=0.02 * (limits[1] - limits[0]))
    assert len(set(values.tolist())) > 0.99 * values.size  # each for itself


def test_factors_below_and_above_one_are_equally_likely(draws):
    factors = np.array([gamma for gamma in map(changed_by(intensity.bend_gamma_), draws) if gamma])
    assert (factors < 1).mean() == pytest.approx(0.5, abs=0.03)


def test_how_far_nodes_move_does_not_depend_on_their_distance(draws):
    elastic = [draw.spatial.elastic for draw in draws if draw.spatial.elastic]
    shares = np.array([draw.reach / draw.distance for draw in elastic])
    assert (shares.min(), shares.max()) == pytest.approx((0.05, 0.2), abs=0.002)
    assert abs(np.corrcoef([draw.distance for draw in elastic], shares)[0, 1]) < 0.1
    assert len({draw.seed for draw in elastic}) == len(elastic)


def test_how_often_axes_are_mirrored_and_labels_of_a_cascade_changed(draws):
    for axis in range(3):
        assert np.mean([axis in draw.mirror_axes for draw in draws]) == pytest.approx(0.5, abs=0.03)
    assert {draw.mirror_axes for draw in draws} >= {(), (0,), (1, 2), (0, 1, 2)}
    steps = [step for draw in draws for step in draw.cascade.morphology]
    removals = [step for draw in draws for step in draw.cascade.removals]
    assert len(steps) / len(draws) == pytest.approx(0.4 * 0.5 * 2, abs=0.04)
    assert len(removals) / len(draws) == pytest.approx(0.2 * 0.5 * 2, abs=0.03)
    assert {step.label for step in steps} == {step.label for step in removals} == {0, 1}
    assert {step.operation for step in steps} == {"dilate", "erode", "close", "open"}
    radii = [step.radius for step in steps]
    assert (min(radii), max(radii)) == pytest.approx((1, 8), abs=0.1)


@pytest.mark.parametrize("patch_shape", [(16, 12), (12, 16, 12), (4, 16, 14)])
def test_shapes_types_and_replay(patch_shape):
    chosen = settings(patch_shape)
    for seed in range(20):
        draw = draw_augmentation(np.random.default_rng(seed), chosen)
        assert draw == draw_augmentation(np.random.default_rng(seed), chosen)
        part = cut(patch(chosen.read_shape), *needed_box(draw, chosen))
        again = Patch(part.image.clone(), part.labels.clone())
        example, again = (augment(one, draw, chosen) for one in (part, again))
        assert example.image.shape == (2, *patch_shape)
        assert example.image.dtype == torch.float32
        assert torch.isfinite(example.image).all()
        assert [tuple(target.shape) for target in example.targets] == list(chosen.target_shapes)
        assert example.targets[0].min() >= 0
        assert torch.equal(example.image, again.image)
        assert torch.equal(example.targets[0], again.targets[0])


def test_without_any_transform_the_central_part_is_read():
    chosen = settings((12, 16, 12))
    first, shape = needed_box(only(chosen), chosen)
    assert first == tuple(r // 2 - p // 2 for r, p in zip(chosen.read_shape, (12, 16, 12), strict=True))
    part = cut(patch(chosen.read_shape), first, shape)
    augmented = augment(cut(patch(chosen.read_shape), first, shape), only(chosen), chosen)
    for example in (augmented, plain(part, chosen)):
        assert torch.equal(example.image, part.image)
        assert torch.equal(example.targets[0], part.labels.clamp(min=0))


def test_thin_patches_are_transformed_in_plane():
    chosen = settings((4, 16, 14))
    draw = only(chosen, spatial=SpatialDraw((0.4,), 0.9))
    first, shape = needed_box(draw, chosen)
    assert (first[0], shape[0]) == (0, 4)
    part = cut(patch(chosen.read_shape), first, shape)
    example = augment(part, draw, chosen)
    for z in range(4):
        layer = Patch(part.image[:, z].clone(), part.labels[z])
        alone = augment(layer, draw, settings((16, 14)))
        torch.testing.assert_close(example.image[:, z], alone.image)
        assert torch.equal(example.targets[0][z], alone.targets[0])


def test_mirrored_axes_and_channels_with_a_mask_that_are_zero_outside():
    chosen = settings((8, 6, 4), zero_outside=(False, True))
    whole = patch((8, 6, 4))
    draw = only(chosen, mirror_axes=(0, 2))
    example = augment(cut(whole, (0, 0, 0), (8, 6, 4)), draw, chosen)
    image, labels = torch.flip(whole.image, [1, 3]), torch.flip(whole.labels, [0, 2])
    assert torch.equal(example.image, torch.stack((image[0], image[1] * (labels >= 0))))
    assert torch.equal(example.targets[0], labels.clamp(min=0))


def test_a_cascade_adds_a_channel_per_foreground_label():
    chosen = settings((8, 8, 8), cascade=True)
    whole = patch((8, 8, 8), previous=True)
    image = plain(whole, chosen).image
    assert image.shape == (4, 8, 8, 8)
    assert torch.equal(image[2:], torch.stack([whole.labels == 1, whole.labels == 2]).float())
    draw = draw_augmentation(np.random.default_rng(3), chosen)
    _, shape = needed_box(draw, chosen)
    augmented = augment(patch(shape, previous=True), draw, chosen)
    assert augmented.image.shape == (4, 8, 8, 8)
