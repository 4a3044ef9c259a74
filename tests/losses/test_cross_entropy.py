"""Cross-entropies against PyTorch's and by hand; the mean over the voxels where they are highest."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy, highest_mean


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("ignore", [None, 3])
def test_classes_as_in_torch(generator, ignore):
    log_p = torch.log_softmax(torch.randn(2, 3, 4, 5, generator=generator), dim=1)
    y = torch.randint(0, 3 if ignore is None else 4, (2, 1, 4, 5), generator=generator)
    mask = None if ignore is None else y != ignore
    expected = F.nll_loss(log_p, y[:, 0], ignore_index=-1 if ignore is None else ignore)
    found = cross_entropy(log_p, y if mask is None else y * mask, mask=mask)
    torch.testing.assert_close(found, expected)


def test_nothing_annotated_costs_nothing():
    log_p = torch.full((1, 2, 3), math.log(0.5))
    y = torch.zeros(1, 1, 3, dtype=torch.int64)
    none = torch.zeros(1, 1, 3, dtype=torch.bool)
    assert cross_entropy(log_p, y, mask=none).item() == 0
    assert binary_cross_entropy(torch.ones(1, 2, 3), torch.ones(1, 2, 3), mask=none).item() == 0


def test_regions_are_averaged_over_voxels_and_regions():
    logits = torch.tensor([[[0.0, 5.0], [2.0, -7.0]]])
    y = torch.tensor([[[True, True], [False, True]]])
    mask = torch.tensor([[[True, False]]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert binary_cross_entropy(logits, y, mask=mask).item() == pytest.approx(expected, rel=1e-6)


def test_highest_mean_by_hand():
    losses = torch.tensor([[[9.0, 1.0, 2.0, 8.0]], [[0.5, 0.25, 4.0, 3.0]]])
    assert highest_mean(losses, share=0.5).item() == (9 + 8 + 4 + 3) / 4
    mask = torch.tensor([[[False, True, True, True]], [[True, False, False, False]]])
    assert highest_mean(losses, share=0.5, mask=mask).item() == (8 + 2 + 0.5) / 3  # 2 of 3, 1 of 1


def test_at_least_one_of_each_patch_where_anything_counts():
    losses = torch.tensor([[[1.0, 5.0, 3.0]], [[7.0, 2.0, 2.0]]])
    assert highest_mean(losses, share=1e-9).item() == 6
    none = torch.zeros(2, 1, 3, dtype=torch.bool)
    assert highest_mean(losses, share=0.5, mask=none).item() == 0
    none[1] = True
    assert highest_mean(losses, share=1e-9, mask=none).item() == 7


@given(
    st.tuples(*map(st.integers, (1, 1, 1), (3, 3, 40))), st.floats(0.01, 1), st.booleans(), st.integers(0, 99)
)
def test_highest_mean_against_sorting(shape, share, masked, seed):
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=shape).astype(np.float32)
    losses[rng.random(losses.shape) < 0.3] = 0
    mask = rng.random((shape[0], 1, shape[2])) < (0.6 if masked else 1)
    taken = []
    for patch, valid in zip(losses, mask, strict=True):
        costs = np.sort(patch[:, valid[0]].ravel())[::-1]
        taken += list(costs[: max(round(costs.size * share), 1)])
    expected = np.mean(taken, dtype=np.float64) if taken else 0
    found = highest_mean(
        torch.from_numpy(losses), share=share, mask=torch.from_numpy(mask) if masked else None
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_reaches_the_highest_alone():
    losses = torch.tensor([[[9.0, 1.0, 2.0, 8.0]]]).requires_grad_()
    highest_mean(losses, share=0.5).backward()
    assert losses.grad.tolist() == [[[0.5, 0, 0, 0.5]]]
