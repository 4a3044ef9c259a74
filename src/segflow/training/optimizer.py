"""How the weights follow their gradients: the optimisers of a recipe and their learning rate.

Source: method.md section 15 (SGD). Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from segflow.recipes.training import TrainingRecipe

__all__ = ["Muon", "build_optimizer", "learning_rate", "subtract_orthogonalised_"]

#: A quintic p(x) = a x + b x^3 + c x^5 that takes numbers between 0 and 1 close to 1 when it is applied five times.
_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5
_ROWS: Final = 32
_FLOOR: Final = 1e-7

#: Learning rate of the parameters that Muon leaves to Adam, relative to that of the kernels.
_ADAM_SHARE: Final = 0.3
_ADAM_BETAS: Final = (0.9, 0.99)
#: Far above the gradients, mere rounding errors, of biases that a norm cancels, so that these stay where they are.
_ADAM_EPS: Final = 1e-5


def learning_rate(recipe: TrainingRecipe, epoch: int, iteration: int = 0) -> float:
    """The learning rate of a step: initial * f(t), where t is the part of the schedule that is over.

        polynomial: f(t) = (1 - t) ^ exponent
        cosine:     f(t) = (1 + cos(pi t)) / 2
        trapezoid:  f(t) = min(1, 2 (1 - t))

    During the warm-up it is multiplied by the part of the warm-up that is over.

    Args:
        recipe: Schedule and lengths.
        epoch: From 0.
        iteration: Step within the epoch, from 0; matters if the rate changes with every step.
    """
    within = iteration / recipe.iterations if recipe.schedule_per == "step" else 0
    t = (epoch + within) / (recipe.schedule_epochs or recipe.epochs)
    rate = recipe.learning_rate * _SCHEDULES[recipe.schedule](t, recipe.schedule_exponent)
    warmup = recipe.warmup * recipe.epochs * recipe.iterations
    step = epoch * recipe.iterations + iteration + 1
    return float(rate * min(1.0, step / warmup) if warmup else rate)


_SCHEDULES: Final[dict[str, Callable[[float, float], float]]] = {
    "polynomial": lambda t, exponent: (1 - t) ** exponent,
    "cosine": lambda t, _: (1 + math.cos(math.pi * t)) / 2,
    "trapezoid": lambda t, _: min(1.0, 2 * (1 - t)),
}


def build_optimizer(recipe: TrainingRecipe, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser of a network's parameters.

    With a gradient scaler all leave out a step whose gradients are not finite, without the host having to ask the
    device for it.
    """
    parameters = list(network.parameters())
    if recipe.optimizer == "muon":
        return Muon(network.named_parameters(), momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "adamw":
        betas = (recipe.momentum, _ADAM_BETAS[1])
        return torch.optim.AdamW(parameters, betas=betas, weight_decay=recipe.weight_decay, fused=True)
    optimizer = torch.optim.SGD(
        parameters,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
    # PyTorch's fused optimiser leaves the momentum undefined if the first step is left out.
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum whose steps are orthogonalised: all directions of a kernel move equally far.

    A kernel of shape (m, n, *size) counts as a matrix of m rows. The heads, biases and what norms multiply and add,
    which are no such maps from features to features, are trained by Adam with 0.3 times the learning rate.

    Args:
        named: The parameters of a network by their names.
        momentum: Of the kernels, as the weight of the past in a moving mean of their gradients.
        weight_decay: Of the kernels, per step and learning rate.
    """

    _step_supports_amp_scaling = True  # `grad_scale` and `found_inf` are set by torch.amp.GradScaler

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], *, momentum: float, weight_decay: float
    ) -> None:
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in named:
            groups[parameter.ndim > 1 and "seg_layers" not in name].append(parameter)
        parts = [{"params": parameters, "kernels": kernels} for kernels, parameters in groups.items()]
        super().__init__(parts, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})
        for parameter in groups[True]:
            self.state[parameter]["mean"] = torch.zeros_like(parameter)
        for parameter in groups[False]:
            for name in ("mean", "square"):
                self.state[parameter][name] = torch.zeros_like(parameter)
            self.state[parameter]["steps"] = torch.zeros((), device=parameter.device)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Change the parameters that have a gradient, unless `found_inf` says that one is not finite."""
        found: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            move = self._turn_ if group["kernels"] else self._adam_
            move([(one, one.grad) for one in group["params"] if one.grad is not None], found, group)

    def _turn_(
        self, kernels: Sequence[tuple[Tensor, Tensor]], found: Tensor | None, group: dict[str, Any]
    ) -> None:
        kept = 1.0 if found is None else 1 - found
        momentum, rate = group["momentum"], group["lr"] * kept
        directions = []
        for kernel, computed in kernels:
            mean = self.state[kernel]["mean"]
            gradient = computed if found is None else torch.where(found > 0, 0, computed)
            mean.lerp_(gradient, (1 - momentum) * kept)
            directions.append(torch.lerp(gradient, mean, momentum, out=torch.empty_like(kernel)))
            kernel.mul_(1 - rate * group["weight_decay"])
        subtract_orthogonalised_([kernel for kernel, _ in kernels], directions, rate)

    def _adam_(
        self, parameters: Sequence[tuple[Tensor, Tensor]], found: Tensor | None, group: dict[str, Any]
    ) -> None:
        states = [self.state[parameter] for parameter, _ in parameters]
        means, squares, steps = ([state[name] for state in states] for name in ("mean", "square", "steps"))
        adam(
            [parameter for parameter, _ in parameters],
            [gradient for _, gradient in parameters],
            means,
            squares,
            [],
            steps,
            fused=True,
            found_inf=found,
            amsgrad=False,
            beta1=_ADAM_BETAS[0],
            beta2=_ADAM_BETAS[1],
            lr=group["lr"] * _ADAM_SHARE,
            weight_decay=0.0,
            eps=_ADAM_EPS,
            maximize=False,
        )


def subtract_orthogonalised_(
    kernels: Sequence[Tensor], directions: Sequence[Tensor], scale: Tensor | float
) -> None:
    """Subtract nearly U V^T of each direction's matrix U S V^T (m, n * size), times a scale, from its kernel.

    Five Newton-Schulz iterations: singular values end between 0.7 and 1.2, where they were not tiny compared with the
    largest. Rows are taken in equal parts of at most 32 (as in Khaled et al. 2025, "MuonBP", arXiv 2510.16981): the
    cost grows with their number, and would exceed that of a deep network whose batch is small. Every row ends with a
    length of about 1, whatever their number. The iterations multiply with polynomials of the small matrix X X^T, for
    all kernels at once; their product is applied to X at the end, in the order in which the kernel is stored and
    without a copy, since further passes over the kernels doubled the time on a CPU.

    Args:
        kernels: Each (m, n, *size), contiguous or channels last.
        directions: Of the kernels' shapes and strides.
        scale: A number, or a tensor of one number on the kernels' device.
    """
    matrices = [*map(_in_parts, directions)]
    products = [x.mT @ x if _is_tall(x) else x @ x.mT for x in matrices]
    for height in {gram.shape[-1] for gram in products}:
        some = [place for place, gram in enumerate(products) if gram.shape[-1] == height]
        found = _product_of_factors(torch.cat([products[place] for place in some]), scale)
        for place, product in zip(some, torch.split(found, [len(products[i]) for i in some]), strict=True):
            products[place] = product
    for kernel, x, product in zip(kernels, matrices, products, strict=True):
        if _is_tall(x):
            _in_parts(kernel).baddbmm_(x, product, alpha=-((x.shape[1] / x.shape[2]) ** 0.5))
        else:
            _in_parts(kernel).baddbmm_(product, x, alpha=-1)


def _in_parts(kernel: Tensor) -> Tensor:
    """A kernel's matrix in equal parts (parts, rows, n * size), its columns in the order in which they are stored."""
    rows = kernel.shape[0]
    parts = next(n for n in range(-(-rows // _ROWS), rows + 1) if rows % n == 0)
    return (kernel if kernel.is_contiguous() else kernel.movedim(1, -1)).view(parts, rows // parts, -1)


def _is_tall(matrices: Tensor) -> bool:
    return matrices.shape[1] > matrices.shape[2]


def _product_of_factors(gram: Tensor, scale: Tensor | float) -> Tensor:
    """The product of all iterations that X is to be multiplied with, from X X^T (parts, n, n), times a scale."""
    a, b, c = _QUINTIC
    norm = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].sqrt() + _FLOOR
    gram, product = gram / norm**2, torch.eye(gram.shape[-1], device=gram.device) * (scale / norm)
    for _ in range(_ITERATIONS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product, gram = factor @ product, factor @ gram @ factor
    return product
