"""Operators along axes against PyTorch's and SciPy's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from segflow.augmentation.separable import (
    apply_along_axes,
    apply_to_each,
    gaussian_matrix,
    linear_matrix,
    nearest_indices,
    resolution_matrix,
    upsampling_positions,
)


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_each_axis_is_multiplied_by_its_own_matrix():
    x, a, b, c = noise(2, 3, 4, 5), noise(6, 3), noise(2, 4), noise(7, 5)
    expected = torch.einsum("nzyx,az,by,cx->nabc", x, a, b, c)
    torch.testing.assert_close(apply_along_axes(x, [a, b, c]), expected)
    torch.testing.assert_close(apply_along_axes(x, [b, c]), torch.einsum("nzyx,by,cx->nzbc", x, b, c))


def test_each_axis_of_each_volume_is_multiplied_by_its_own_matrix():
    x, a, b, c = noise(2, 3, 4, 5), noise(2, 6, 3), noise(2, 2, 4), noise(2, 7, 5)
    expected = torch.einsum("nzyx,naz,nby,ncx->nabc", x, a, b, c)
    torch.testing.assert_close(apply_to_each(x, [a, b, c]), expected)
    torch.testing.assert_close(
        apply_to_each(x[:, 0], [b, c]), torch.einsum("nyx,nby,ncx->nbc", x[:, 0], b, c)
    )


@pytest.mark.parametrize(
    ("n", "sigma", "radius"), [(20, 0.5, 1), (20, 0.7, 2), (20, 1.0, 3), (2, 1.0, 3), (1, 0.6, 2)]
)
def test_gaussian_with_reflected_borders(n, sigma, radius):
    x = noise(n)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    expected = ndimage.correlate1d(x.double().numpy(), weights / weights.sum(), mode="mirror")
    np.testing.assert_allclose((gaussian_matrix(n, sigma) @ x).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_gaussian_without_width_changes_nothing():
    x = noise(9)
    assert torch.equal(gaussian_matrix(9, 0.0) @ x, x)


def test_linear_interpolation_with_zeros_outside():
    matrix = linear_matrix(torch.tensor([-1.0, -0.5, 0.0, 0.25, 2.5, 3.0]), 3)
    expected = torch.tensor([0, 0.5, 1, 0.75 * 1 + 0.25 * 10, 50, 0])
    torch.testing.assert_close(matrix @ torch.tensor([1.0, 10.0, 100.0]), expected)


@pytest.mark.parametrize(("n", "small"), [(40, 20), (40, 31), (7, 5), (5, 1), (4, 4)])
def test_resizing_as_in_torch(n, small):
    x = noise(1, 1, n)
    down = F.interpolate(x, size=small, mode="nearest-exact")
    torch.testing.assert_close(x[..., nearest_indices(n, small)], down)
    up = linear_matrix(upsampling_positions(small, n), small)
    expected = F.interpolate(down, size=n, mode="linear")
    torch.testing.assert_close(down @ up.T, expected)
    torch.testing.assert_close(x @ resolution_matrix(n, small).T, expected)
