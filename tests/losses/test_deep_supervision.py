"""Weights of resolutions."""

import pytest
import torch

from segflow.losses.compound import DeepSupervisionLoss, deep_supervision_weights


def test_halved_per_resolution_and_the_coarsest_zero():
    assert deep_supervision_weights(4) == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    assert deep_supervision_weights(2) == (1.0, 0.0)
    assert deep_supervision_weights(1) == (1.0,)


def test_given_weights_are_those_of_the_first_outputs():
    assert deep_supervision_weights(5, (0.7, 0.2, 0.1)) == pytest.approx((0.7, 0.2, 0.1, 0, 0))
    assert deep_supervision_weights(3, (7, 2, 1)) == pytest.approx((0.7, 0.2, 0.1))
    assert deep_supervision_weights(2, (0.7, 0.2, 0.1)) == pytest.approx((7 / 9, 2 / 9))
    assert deep_supervision_weights(1, (0.7, 0.2, 0.1)) == (1.0,)


def test_weighted_sum_without_the_outputs_of_weight_zero():
    loss = DeepSupervisionLoss(lambda output, target: (output - target).sum(), (0.75, 0.25, 0.0))
    outputs = [torch.tensor([8.0]), torch.tensor([4.0]), torch.tensor([float("nan")])]
    targets = [torch.tensor([0.0]), torch.tensor([0.0])]
    assert loss(outputs, targets).item() == 7
