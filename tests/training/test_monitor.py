"""Pseudo-Dice and its moving mean."""

import math

import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.training.monitor import count_overlap, moving_mean, pseudo_dice

CLASSES = (("background", 0), ("a", 1), ("b", 2))
REGIONS = (("background", 0), ("both", (1, 2)), ("b", 2))


def logits_of(prediction, n):
    return torch.nn.functional.one_hot(torch.tensor(prediction), n).movedim(-1, 1).float()


def test_classes():
    logits = logits_of([[0, 1, 1, 2, 2]], 3)
    counts = count_overlap(logits, torch.tensor([[0, 1, 2, 2, 0]], dtype=torch.int16), Labels(CLASSES))
    assert counts.tolist() == [[1, 1], [1, 1], [0, 1]]


def test_classes_with_ignore():
    logits = logits_of([[0, 1, 1, 2, 2]], 3)
    target = torch.tensor([[3, 1, 3, 2, 3]], dtype=torch.int16)
    counts = count_overlap(logits, target, Labels((*CLASSES, ("ignore", 3))))
    assert counts.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_regions():
    logits = torch.tensor([[[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]])
    target = torch.tensor([[[True, False, True], [True, True, False]]])
    assert count_overlap(logits, target, Labels(REGIONS, (1, 2))).tolist() == [[1, 1], [1, 0], [1, 1]]


def test_regions_with_ignore():
    logits = torch.tensor([[[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]])
    target = torch.tensor([[[True, False, True], [True, True, False], [False, True, True]]])
    labels = Labels((*REGIONS, ("ignore", 3)), (1, 2))
    assert count_overlap(logits, target, labels).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_dice_and_its_mean_over_what_occurs():
    dice, mean = pseudo_dice(torch.tensor([[3, 0, 1], [1, 0, 0], [1, 0, 2]]))
    assert dice[::2] == pytest.approx((0.75, 0.5))
    assert math.isnan(dice[1])
    assert mean == pytest.approx(0.625)
    assert math.isnan(pseudo_dice(torch.zeros(3, 2, dtype=torch.int64))[1])


def test_moving_mean():
    assert moving_mean(None, 0.5) == 0.5
    assert moving_mean(0.5, 0.7) == pytest.approx(0.52)
    assert moving_mean(0.5, math.nan) == 0.5
    assert moving_mean(math.nan, 0.5) == 0.5
    assert math.isnan(moving_mean(None, math.nan))
