"""Changes of intensity and sharpness, of an image alone and of the same image in a batch."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from segflow.augmentation.batched import augment_batch, collect
from segflow.augmentation.intensity import (
    add_noise_,
    bend_gamma_,
    bend_gamma_inverted_,
    blur_,
    change_brightness_,
    change_contrast_,
    lower_resolution_,
)
from segflow.augmentation.pipeline import UNCHANGED, Patch, Settings
from segflow.contracts.labels import Labels
from segflow.recipes.training import AugmentationRecipe

GAMMA = {False: bend_gamma_, True: bend_gamma_inverted_}


def change_in_a_batch_(change_, image, drawn):
    """After another image, for which nothing was drawn."""
    spatial = image.shape[1:]
    thin = change_ is lower_resolution_ and drawn[0] == 1
    settings = Settings(
        recipe=AugmentationRecipe(anisotropy_ratio=1 if thin else 100),
        patch_shape=tuple(spatial),
        target_shapes=(tuple(spatial),),
        labels=Labels((("background", 0), ("a", 1))),
        zero_outside=(False,) * len(image),
    )
    draws = [UNCHANGED, dataclasses.replace(UNCHANGED, changes=((change_, drawn),))]
    labels = torch.zeros(spatial, dtype=torch.int16)
    pending, flat, arrays = collect([Patch(image * 0 + 7, labels), Patch(image, labels)], draws, settings)
    other, changed = augment_batch(pending, torch.from_numpy(flat), [torch.from_numpy(a) for a in arrays])[0]
    assert (other == 7).all()
    image.copy_(changed)


@pytest.fixture(params=["alone", "in a batch"])
def apply_(request):
    return change_in_a_batch_ if request.param == "in a batch" else lambda change_, *given: change_(*given)


@pytest.fixture
def image():
    return torch.randn(2, 8, 9, 10, generator=torch.Generator().manual_seed(0)) * 3 + 1


def test_noise_has_its_standard_deviation_and_can_be_replayed(image, apply_):
    first, second = image.clone(), image.clone()
    apply_(add_noise_, first, (0.05, 7))
    apply_(add_noise_, second, (0.05, 7))
    assert torch.equal(first, second)
    assert float((first - image).std()) == pytest.approx(0.05, rel=0.05)


def test_brightness(image, apply_):
    expected = image * torch.tensor([0.8, 1.1]).view(2, 1, 1, 1)
    apply_(change_brightness_, image, (0.8, 1.1))
    torch.testing.assert_close(image, expected)


def test_contrast_keeps_mean_and_limits(image, apply_):
    before = image.double().numpy()
    apply_(change_contrast_, image, (0.75, 1.25))
    for c, factor in enumerate((0.75, 1.25)):
        x = before[c]
        expected = np.clip((x - x.mean()) * factor + x.mean(), x.min(), x.max())
        np.testing.assert_allclose(image[c].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_by_its_formula(image, inverted, apply_):
    before = image.double().numpy()
    apply_(GAMMA[inverted], image, (0.7, 1.5))
    for c, gamma in enumerate((0.7, 1.5)):
        x = -before[c] if inverted else before[c]
        value_range = max(x.max() - x.min(), 1e-7)
        u = ((x - x.min()) / value_range) ** gamma * value_range + x.min()
        u = (u - u.mean()) / max(u.std(ddof=1), 1e-7) * x.std(ddof=1) + x.mean()
        np.testing.assert_allclose(image[c].numpy(), -u if inverted else u, atol=2e-5)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_of_a_constant_image_is_the_image(inverted, apply_):
    image = torch.full((1, 4, 4, 4), 2.5)
    apply_(GAMMA[inverted], image, (0.7,))
    torch.testing.assert_close(image, torch.full((1, 4, 4, 4), 2.5))


def test_blur_of_the_chosen_channel(image, apply_):
    before = image.clone()
    sigmas = (0.55, 0.8, 1.0)
    apply_(blur_, image, (None, sigmas))
    assert torch.equal(image[0], before[0])
    expected = before[1].double().numpy()
    for axis, (sigma, radius) in enumerate(zip(sigmas, (1, 2, 3), strict=True)):
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        expected = ndimage.correlate1d(expected, weights / weights.sum(), axis=axis, mode="mirror")
    np.testing.assert_allclose(image[1].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("first_axis", [0, 1])
def test_low_resolution_as_in_torch(image, first_axis, apply_):
    before = image.clone()
    apply_(lower_resolution_, image, (first_axis, (0.6, None)))
    assert torch.equal(image[1], before[1])
    small = (round(8 * 0.6) if first_axis == 0 else 8, round(9 * 0.6), round(10 * 0.6))
    down = F.interpolate(before[:1, None], size=small, mode="nearest-exact")
    expected = F.interpolate(down, size=(8, 9, 10), mode="trilinear")[0, 0]
    torch.testing.assert_close(image[0], expected, atol=1e-5, rtol=1e-5)
