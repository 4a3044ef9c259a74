"""Blur and low resolution."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from segflow.augmentation.intensity import (
    BlurDraw,
    LowResolutionDraw,
    blur_,
    draw_blur,
    draw_low_resolution,
    lower_resolution_,
)
from segflow.recipes.training import AugmentationRecipe


@pytest.fixture
def image():
    return torch.randn(2, 8, 12, 10, generator=torch.Generator().manual_seed(0))


def test_blur_of_the_chosen_channel(image):
    before = image.clone()
    sigmas = (0.55, 0.8, 1.0)
    blur_(image, BlurDraw((None, sigmas)))
    assert torch.equal(image[0], before[0])
    expected = before[1].double().numpy()
    for axis, (sigma, radius) in enumerate(zip(sigmas, (1, 2, 3), strict=True)):
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        expected = ndimage.correlate1d(expected, weights / weights.sum(), axis=axis, mode="mirror")
    np.testing.assert_allclose(image[1].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("first_axis", [0, 1])
def test_low_resolution_as_in_torch(image, first_axis):
    before = image.clone()
    lower_resolution_(image, LowResolutionDraw((0.6, None)), first_axis=first_axis)
    assert torch.equal(image[1], before[1])
    small = (round(8 * 0.6) if first_axis == 0 else 8, round(12 * 0.6), round(10 * 0.6))
    down = F.interpolate(before[:1, None], size=small, mode="nearest-exact")
    expected = F.interpolate(down, size=(8, 12, 10), mode="trilinear")[0, 0]
    torch.testing.assert_close(image[0], expected, atol=1e-5, rtol=1e-5)


def test_how_often_and_how_much():
    rng = np.random.default_rng(0)
    recipe = AugmentationRecipe()
    blurs = [draw_blur(rng, recipe, channels=2, dimensions=3) for _ in range(4000)]
    lows = [draw_low_resolution(rng, recipe, channels=2) for _ in range(4000)]
    fired = [draw.sigmas for draw in blurs if draw is not None]
    assert len(fired) / 4000 == pytest.approx(0.2, abs=0.02)
    sigmas = np.array([s for channels in fired for s in channels if s is not None])
    assert len(sigmas) / (2 * len(fired)) == pytest.approx(0.5, abs=0.05)
    assert (sigmas.min(), sigmas.max()) == pytest.approx((0.5, 1.0), abs=0.01)
    fired = [draw.factors for draw in lows if draw is not None]
    assert len(fired) / 4000 == pytest.approx(0.25, abs=0.02)
    factors = [f for channels in fired for f in channels if f is not None]
    assert len(factors) / (2 * len(fired)) == pytest.approx(0.5, abs=0.05)
    assert (min(factors), max(factors)) == pytest.approx((0.5, 1.0), abs=0.01)
