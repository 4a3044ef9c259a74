"""Learning rates by their formulas; Muon against singular values, and its Adam against PyTorch's."""

import pytest
import torch

from segflow.recipes.training import TrainingRecipe
from segflow.training.optimizer import Muon, build_optimizer, learning_rate, subtract_orthogonalised_

LENGTH = {"epochs": 10, "iterations": 20}


@pytest.mark.parametrize(
    ("when", "expected", "recipe"),
    [
        ((0, 0), 0.01, {}),
        ((500, 249), 0.01 * 0.5**0.9, {}),
        ((999, 0), 0.01 * 0.001**0.9, {}),
        ((1, 0), 0.01 * 0.9**0.9, {"epochs": 2, "schedule_epochs": 10}),  # a part of a longer schedule
        ((5, 10), 0.01 * 0.45**0.9, LENGTH | {"schedule_per": "step"}),
        ((5, 10), 0.005, LENGTH | {"schedule": "cosine"}),
        ((2, 10), 0.01 * 0.8535534, LENGTH | {"schedule": "cosine", "schedule_per": "step"}),
        ((5, 0), 0.01, LENGTH | {"schedule": "trapezoid"}),
        ((9, 0), 0.002, LENGTH | {"schedule": "trapezoid"}),
        ((0, 4), 0.01 * 0.25, LENGTH | {"schedule": "trapezoid", "warmup": 0.1}),
        ((0, 19), 0.01, LENGTH | {"schedule": "trapezoid", "warmup": 0.1}),
        ((2, 0), 0.01 * 0.8**0.9 * 41 / 100, LENGTH | {"warmup": 0.5}),  # of a rate that falls already
    ],
)
def test_learning_rate(when, expected, recipe):
    assert learning_rate(TrainingRecipe(**recipe), *when) == pytest.approx(expected)


def test_sgd_without_momentum():
    network = torch.nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(TrainingRecipe(momentum=0, weight_decay=0), network)
    optimizer.param_groups[0]["lr"] = 0.5
    before = network.weight.detach().clone()
    network(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(network.weight.detach(), before - 0.5)


def orthogonalised(directions, scale=1.0):
    kernels = [*map(torch.zeros_like, directions)]
    subtract_orthogonalised_(kernels, directions, -scale)
    return kernels


@pytest.mark.parametrize("shape", [(8, 4, 3, 3, 3), (24, 8, 1, 1), (6, 18), (16, 1, 3, 3)])
def test_steps_of_kernels_are_nearly_orthogonal(shape):
    """The same singular vectors, and singular values near 1, or near sqrt(rows / columns) of a tall matrix."""
    kernel = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    turned = orthogonalised([1e-4 * kernel])[0].flatten(1)
    rows, columns = turned.shape
    values = torch.linalg.svdvals(turned) / max(1, rows / columns) ** 0.5
    assert 0.6 < values.min() <= values.max() < 1.25
    u, _, vh = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
    off = u.T @ turned @ vh.T
    assert (off - off.diagonal().diag()).abs().max() < 1e-4


def test_rows_are_taken_in_equal_parts():
    kernel = torch.randn(100, 40, 3, 3, generator=torch.Generator().manual_seed(5))
    parts = torch.cat([one for rows in kernel.split(25) for one in orthogonalised([rows])])
    assert torch.allclose(orthogonalised([kernel])[0], parts, atol=1e-6)
    assert torch.allclose(orthogonalised([kernel], 0.1)[0], 0.1 * parts, atol=1e-7)
    assert (parts.flatten(1).norm(dim=1) - 1).abs().max() < 0.25


def test_kernels_do_not_depend_on_each_other():
    generator = torch.Generator().manual_seed(7)
    shapes = [(32, 1, 3, 3, 3), (64, 32, 3, 3, 3), (8, 4, 3, 3), (96, 8, 3, 3), (64, 64, 1, 1), (24, 8, 1, 1)]
    kernels = [torch.randn(shape, generator=generator) for shape in shapes]
    for found, kernel in zip(orthogonalised(kernels), kernels, strict=True):
        assert found.shape == kernel.shape
        torch.testing.assert_close(found, orthogonalised([kernel])[0])


@pytest.mark.parametrize("shape", [(64, 4, 3, 3), (24, 2, 3, 3), (36, 2, 3, 3)])
def test_the_order_in_memory_does_not_matter(shape):
    """Kernels whose parts are wide, tall and square."""
    generator = torch.Generator().manual_seed(9)
    start, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        kernel = torch.nn.Parameter(start.clone(memory_format=layout))
        optimizer = Muon([("kernel", kernel)], momentum=0.9, weight_decay=0.1)
        optimizer.param_groups[0]["lr"] = 0.1
        for _ in range(2):
            kernel.grad = gradient.clone()  # contiguous, whatever the kernel is
            optimizer.step()
        ends.append(kernel.detach())
    assert not ends[1].is_contiguous()
    torch.testing.assert_close(*ends)


def test_kernels_without_gradient_and_gradients_of_zero():
    assert torch.equal(orthogonalised([torch.zeros(4, 2, 3)])[0], torch.zeros(4, 2, 3))
    unused = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([("unused", unused)], momentum=0.9, weight_decay=0.1)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2))


def test_momentum_and_weight_decay_of_a_kernel():
    kernel = torch.nn.Parameter(torch.ones(3, 12))
    optimizer = Muon([("kernel", kernel)], momentum=0.5, weight_decay=0.1)
    optimizer.param_groups[0]["lr"] = 0.2
    generator = torch.Generator().manual_seed(1)
    mean, expected = torch.zeros(3, 12), torch.ones(3, 12)
    for _ in range(3):
        kernel.grad = torch.randn(3, 12, generator=generator)
        optimizer.step()
        mean = 0.5 * mean + 0.5 * kernel.grad
        expected = expected * (1 - 0.2 * 0.1) - 0.2 * orthogonalised([0.5 * kernel.grad + 0.5 * mean])[0]
    torch.testing.assert_close(kernel.detach(), expected)


@pytest.mark.parametrize(
    ("name", "shape"), [("norm.weight", (7,)), ("decoder.seg_layers.0.weight", (3, 7, 1, 1))]
)
def test_heads_biases_and_norms_are_trained_by_adam(name, shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer = Muon([(name, ours)], momentum=0.95, weight_decay=0.1)
    adam = torch.optim.Adam([theirs], lr=0.3 * 0.02, betas=(0.9, 0.99), eps=1e-5)
    for group in optimizer.param_groups:
        group["lr"] = 0.02
    for step in range(5):
        ours.grad = theirs.grad = torch.sin(start * (step + 1))
        optimizer.step()
        adam.step()
    torch.testing.assert_close(ours.detach(), theirs.detach())
