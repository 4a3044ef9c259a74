"""The soft Dice loss against hand-computed values and a float64 reference."""

import numpy as np
import pytest
import torch

from segflow.losses.dice import soft_dice_loss

E = 1e-5


def test_one_patch_by_hand():
    p = torch.tensor([[[0.5, 1.0, 0.0, 0.25]]])
    y = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    expected = -(2 * 1.5 + E) / (1.75 + 2 + E)
    assert soft_dice_loss(p, y, batch_dice=False).item() == pytest.approx(expected, rel=1e-6)


def test_absent_class_scores_one():
    zeros = torch.zeros(1, 1, 4)
    assert soft_dice_loss(zeros, zeros, batch_dice=False).item() == pytest.approx(-1)


def reference(p, y, *, batch_dice, mask):
    p, y = p.double().numpy() * mask, y.double().numpy() * mask
    scores = []
    groups = [range(len(p))] if batch_dice else [[b] for b in range(len(p))]
    for group in groups:
        for c in range(p.shape[1]):
            top = sum((p[b, c] * y[b, c]).sum() for b in group)
            below = sum(p[b, c].sum() + y[b, c].sum() for b in group)
            scores.append((2 * top + E) / max(below + E, 1e-8))
    return -np.mean(scores)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_against_a_float64_reference(batch_dice, masked):
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(3, 4, 5, 6, generator=generator)
    y = torch.rand(3, 4, 5, 6, generator=generator) > 0.6
    mask = torch.rand(3, 1, 5, 6, generator=generator) > 0.3
    expected = reference(p, y, batch_dice=batch_dice, mask=mask.numpy() if masked else 1.0)
    loss = soft_dice_loss(p, y, batch_dice=batch_dice, mask=mask if masked else None)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
