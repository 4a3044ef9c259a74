"""The mean over the voxels where the loss is highest; test_compound.py has references of both cross-entropies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy, highest_mean


def test_nothing_annotated_costs_nothing():
    log_p = torch.full((1, 2, 3), math.log(0.5))
    y = torch.zeros(1, 1, 3, dtype=torch.int64)
    none = torch.zeros(1, 1, 3, dtype=torch.bool)
    assert cross_entropy(log_p, y, mask=none).item() == 0
    assert binary_cross_entropy(torch.ones(1, 2, 3), torch.ones(1, 2, 3), mask=none).item() == 0


def test_highest_mean_and_its_gradient_by_hand():
    losses = torch.tensor([[[9.0, 1.0, 2.0, 8.0]], [[0.5, 0.25, 4.0, 3.0]]]).requires_grad_()
    mask = torch.tensor([[[False, True, True, True]], [[True, False, False, False]]])
    assert highest_mean(losses, share=0.5, mask=mask).item() == (8 + 2 + 0.5) / 3  # 2 of 3, 1 of 1
    found = highest_mean(losses, share=0.5)
    found.backward()
    assert found.item() == (9 + 8 + 4 + 3) / 4
    assert losses.grad.tolist() == [[[0.25, 0, 0, 0.25]], [[0, 0, 0.25, 0.25]]]


@given(
    st.tuples(*map(st.integers, (1, 1, 1), (3, 3, 40))), st.floats(1e-9, 1), st.booleans(), st.integers(0, 99)
)
def test_highest_mean_against_sorting(shape, share, masked, seed):
    """At least one voxel of each patch where any counts."""
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
