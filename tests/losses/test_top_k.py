"""The mean over the entries that cost most."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segflow.losses.cross_entropy import highest_mean


def test_by_hand():
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
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 40),
    st.floats(0.01, 1),
    st.booleans(),
    st.integers(0, 99),
)
def test_against_sorting(patches, regions, voxels, share, masked, seed):
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=(patches, regions, voxels)).astype(np.float32)
    losses[rng.random(losses.shape) < 0.3] = 0
    mask = rng.random((patches, 1, voxels)) < 0.6 if masked else np.ones((patches, 1, voxels), bool)
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
