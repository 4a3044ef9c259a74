"""Noise, brightness, contrast, gamma."""

import numpy as np
import pytest
import torch

from segflow.augmentation.intensity import (
    FactorDraw,
    NoiseDraw,
    add_noise_,
    bend_gamma_,
    change_brightness_,
    change_contrast_,
    draw_factors,
    draw_noise,
)
from segflow.recipes.training import AugmentationRecipe


@pytest.fixture
def image():
    return torch.randn(2, 8, 9, 10, generator=torch.Generator().manual_seed(0)) * 3 + 1


def test_noise_has_its_standard_deviation_and_can_be_replayed(image):
    first, second = image.clone(), image.clone()
    add_noise_(first, NoiseDraw(0.05, 7))
    add_noise_(second, NoiseDraw(0.05, 7))
    assert torch.equal(first, second)
    assert float((first - image).std()) == pytest.approx(0.05, rel=0.05)


def test_brightness(image):
    expected = image * torch.tensor([0.8, 1.1]).view(2, 1, 1, 1)
    change_brightness_(image, FactorDraw((0.8, 1.1)))
    torch.testing.assert_close(image, expected)


def test_contrast_keeps_mean_and_limits(image):
    before = image.double().numpy()
    change_contrast_(image, FactorDraw((0.75, 1.25)))
    for c, factor in enumerate((0.75, 1.25)):
        x = before[c]
        expected = np.clip((x - x.mean()) * factor + x.mean(), x.min(), x.max())
        np.testing.assert_allclose(image[c].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_by_its_formula(image, inverted):
    before = image.double().numpy()
    bend_gamma_(image, FactorDraw((0.7, 1.5)), inverted=inverted)
    for c, gamma in enumerate((0.7, 1.5)):
        x = -before[c] if inverted else before[c]
        value_range = max(x.max() - x.min(), 1e-7)
        u = ((x - x.min()) / value_range) ** gamma * value_range + x.min()
        u = (u - u.mean()) / max(u.std(ddof=1), 1e-7) * x.std(ddof=1) + x.mean()
        np.testing.assert_allclose(image[c].numpy(), -u if inverted else u, atol=2e-5)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_of_a_constant_image_is_the_image(inverted):
    image = torch.full((1, 4, 4, 4), 2.5)
    bend_gamma_(image, FactorDraw((0.7,)), inverted=inverted)
    torch.testing.assert_close(image, torch.full((1, 4, 4, 4), 2.5))


def test_factors_below_and_above_one_are_equally_likely():
    rng = np.random.default_rng(0)
    draws = [draw_factors(rng, (0.7, 1.5), p=0.3, channels=2) for _ in range(4000)]
    fired = [draw for draw in draws if draw is not None]
    factors = np.array([draw.factors for draw in fired])
    assert len(fired) / 4000 == pytest.approx(0.3, abs=0.02)
    assert (factors < 1).mean() == pytest.approx(0.5, abs=0.03)
    assert (factors.min(), factors.max()) == pytest.approx((0.7, 1.5), abs=0.01)
    assert not np.array_equal(factors[:, 0], factors[:, 1])


def test_how_often_there_is_noise():
    rng = np.random.default_rng(0)
    fired = [d for d in (draw_noise(rng, AugmentationRecipe()) for _ in range(4000)) if d is not None]
    assert len(fired) / 4000 == pytest.approx(0.1, abs=0.015)
    assert 0 <= min(d.std for d in fired) < max(d.std for d in fired) <= 0.1
