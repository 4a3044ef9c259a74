"""The mirrored mean against an average written out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from segflow.prediction.sliding_window import mirrored_mean


def network(dimensions, seed=0):
    """A convolution without any symmetry."""
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(1, 2, 3, padding="same").double()


def test_two_axes_written_out():
    net, batch = network(2), torch.arange(24.0, dtype=torch.double).reshape(1, 1, 4, 6)
    rows, columns = batch.flip(2), batch.flip(3)
    both = rows.flip(3)
    expected = (net(batch) + net(rows).flip(2) + net(columns).flip(3) + net(both).flip(2).flip(3)) / 4
    torch.testing.assert_close(mirrored_mean(net, batch), expected)


def test_three_axes_written_out():
    net, batch = network(3), torch.randn(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    total = torch.zeros(2, 2, 3, 4, 5, dtype=torch.double)
    for z in (False, True):
        for y in (False, True):
            for x in (False, True):
                axes = [axis for axis, flip in zip((2, 3, 4), (z, y, x), strict=True) if flip]
                total += net(batch.flip(axes)).flip(axes)
    torch.testing.assert_close(mirrored_mean(net, batch), total / 8)


@pytest.mark.parametrize(("dimensions", "calls"), [(2, 4), (3, 8)])
def test_every_combination_once(dimensions, calls):
    seen = []

    def identity(batch):
        seen.append(batch.clone())
        return batch

    batch = torch.arange(2.0**dimensions).reshape(1, 1, *(2,) * dimensions)
    torch.testing.assert_close(mirrored_mean(identity, batch), batch)
    assert len({tuple(inputs.ravel().tolist()) for inputs in seen}) == len(seen) == calls


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    "axes",
    [False, True, ("x",), ("y",), ("z",), ("x", "y"), ("y", "x"), ("z", "x"), ("x", "x"), ("z", "y", "x")],
)
def test_chosen_axes_written_out(axes, dimensions):
    net = network(dimensions)
    batch = torch.randn(1, 1, *(3, 4, 5)[-dimensions:], generator=torch.Generator().manual_seed(1)).double()
    chosen = "zyx" if axes is True else axes or ()
    numbers = [dimensions + 1 - "xyz".index(axis) for axis in set(chosen) if axis != "z" or dimensions == 3]
    outputs = []
    for flips in itertools.product((False, True), repeat=len(numbers)):
        mirrored = [axis for axis, flip in zip(numbers, flips, strict=True) if flip]
        outputs.append(net(batch.flip(mirrored)).flip(mirrored))
    calls = []

    def counted(inputs):
        calls.append(1)
        return net(inputs)

    found = mirrored_mean(counted, batch, mirroring=axes)
    torch.testing.assert_close(found, torch.stack(outputs).mean(0))
    assert len(calls) == len(outputs) == 2 ** len(numbers)
