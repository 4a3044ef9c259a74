"""Linear operators that act on each axis alone, as one small matrix per axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "apply_along_axes",
    "apply_to_each",
    "gaussian_matrix",
    "linear_matrix",
    "nearest_indices",
    "resolution_matrix",
    "upsampling_positions",
]


def apply_along_axes(volume: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each of the last axes by its matrix.

    Args:
        volume: (..., *spatial), contiguous.
        matrices: (n_out, n_in) for each of the last axes, in order.

    Returns:
        (..., *n_out).
    """
    for back, matrix in enumerate(reversed(matrices), start=1):
        if back == 1:
            volume = volume @ matrix.T
            continue
        axis = volume.ndim - back
        flat = volume.reshape(*volume.shape[: axis + 1], -1)
        volume = (matrix @ flat).reshape(*volume.shape[:axis], len(matrix), *volume.shape[axis + 1 :])
    return volume


def apply_to_each(volumes: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each axis of each volume by a matrix of its own.

    Args:
        volumes: (n, *spatial).
        matrices: (n, n_out, n_in) for each spatial axis, in order.

    Returns:
        (n, *n_out).
    """
    for matrix in matrices:  # of the first spatial axis, which becomes the last
        changed = volumes.flatten(2).mT @ matrix.mT
        volumes = changed.reshape(len(volumes), *volumes.shape[2:], -1)
    return volumes


def linear_matrix(positions: Tensor, n_in: int) -> Tensor:
    """Linear interpolation of `n_in` samples at positions (n_out,), 0 being the first's centre; 0 outside."""
    samples = torch.arange(n_in, dtype=torch.float32)
    return torch.clamp(1 - (positions[:, None] - samples).abs(), min=0)


def gaussian_matrix(n: int, sigma: float) -> Tensor:
    """Convolution of `n` samples with a Gaussian of odd length near 6 sigma + 0.5; the line is reflected.

    Source: method.md section 13, step 5.
    """
    radius = math.floor((6 * sigma + 0.5) / 2)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2) if sigma else torch.ones(1)
    sources = (torch.arange(n)[:, None] + offsets).abs()
    period = max(2 * (n - 1), 1)
    sources = sources % period
    sources = torch.minimum(sources, period - sources) if n > 1 else torch.zeros_like(sources)
    matrix = torch.zeros(n, n)
    return matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(n, -1))


def nearest_indices(n_in: int, n_out: int, device: torch.device | None = None) -> Tensor:
    """Index (n_out,) of the sample nearest to the centre of each of `n_out` equal parts ("nearest-exact").

    Source: method.md section 13, steps 8 and 16.
    """
    return ((2 * torch.arange(n_out, device=device) + 1) * n_in // (2 * n_out)).clamp_(max=n_in - 1)


def upsampling_positions(n_in: int, n_out: int) -> Tensor:
    """Where the centres of `n_out` equal parts lie among `n_in` samples, kept within the outer two.

    Source: method.md section 13, step 8.
    """
    centres = (torch.arange(n_out, dtype=torch.float32) + 0.5) * (n_in / n_out) - 0.5
    return centres.clamp_(min=0, max=n_in - 1)


def resolution_matrix(n: int, n_small: int) -> Tensor:
    """From `n` samples to the nearest `n_small`, and linearly back to `n`."""
    up = linear_matrix(upsampling_positions(n_small, n), n_small)
    return torch.zeros(n, n).index_add_(1, nearest_indices(n, n_small), up)
