"""Cross-entropies against PyTorch's and by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_classes_as_in_torch(generator):
    log_p = torch.log_softmax(torch.randn(2, 3, 4, 5, generator=generator), dim=1)
    y = torch.randint(0, 3, (2, 1, 4, 5), generator=generator)
    torch.testing.assert_close(cross_entropy(log_p, y), F.nll_loss(log_p, y[:, 0]))


def test_ignored_voxels_do_not_count(generator):
    log_p = torch.log_softmax(torch.randn(2, 3, 4, 5, generator=generator), dim=1)
    y = torch.randint(0, 4, (2, 1, 4, 5), generator=generator)
    mask = y != 3
    expected = F.nll_loss(log_p, y[:, 0], ignore_index=3)
    torch.testing.assert_close(cross_entropy(log_p, y * mask, mask=mask), expected)


def test_nothing_annotated_costs_nothing():
    log_p = torch.full((1, 2, 3), math.log(0.5))
    y = torch.zeros(1, 1, 3, dtype=torch.int64)
    none = torch.zeros(1, 1, 3, dtype=torch.bool)
    assert cross_entropy(log_p, y, mask=none).item() == 0
    assert binary_cross_entropy(torch.ones(1, 2, 3), torch.ones(1, 2, 3), mask=none).item() == 0


def test_regions_as_in_torch(generator):
    logits = torch.randn(2, 3, 4, generator=generator)
    y = torch.rand(2, 3, 4, generator=generator) > 0.5
    torch.testing.assert_close(
        binary_cross_entropy(logits, y), F.binary_cross_entropy_with_logits(logits, y.float())
    )


def test_regions_are_averaged_over_voxels_and_regions():
    logits = torch.tensor([[[0.0, 5.0], [2.0, -7.0]]])
    y = torch.tensor([[[True, True], [False, True]]])
    mask = torch.tensor([[[True, False]]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert binary_cross_entropy(logits, y, mask=mask).item() == pytest.approx(expected, rel=1e-6)
