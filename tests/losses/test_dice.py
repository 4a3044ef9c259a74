"""The soft Dice loss by hand; test_compound.py has a float64 reference, with masks and over batches."""

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
