"""One loss from the outputs of several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["DeepSupervisionLoss", "deep_supervision_weights"]


def deep_supervision_weights(n_scales: int, given: Sequence[float] | None = None) -> tuple[float, ...]:
    """Weights 2^-i, the coarsest 0, or given ones; divided by their sum.

    Args:
        n_scales: Outputs of the network, at least 1. A single output keeps its weight.
        given: Of the first outputs, the first one above 0. Outputs beyond have weight 0, and weights beyond the outputs
            are left out.

    Returns:
        One weight per output, full resolution first; their sum is 1.

    Source: method.md section 14; the single output is ours (the peer divides by zero), and so are given weights.
    """
    if given is None:
        given = [2.0**-i for i in range(max(n_scales - 1, 1))]
    weights = [*given[:n_scales], *[0.0] * (n_scales - len(given))]
    return tuple(weight / sum(weights) for weight in weights)


@dataclass(frozen=True)
class DeepSupervisionLoss:
    """The weighted sum of a loss over resolutions. Outputs of weight 0 are not looked at.

    Attributes:
        loss: Of one output and its target.
        weights: Per output, full resolution first.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    weights: tuple[float, ...]

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: Logits, full resolution first.
            targets: In the same order; those of weight 0 at the end may be missing.

        Returns:
            Scalar.

        Source: method.md section 14.
        """
        used = [(i, weight) for i, weight in enumerate(self.weights) if weight > 0]
        first, *rest = [weight * self.loss(outputs[i], targets[i]) for i, weight in used]
        return sum(rest, start=first)
