"""Cross-entropy, Dice, or both, summed over the outputs of several resolutions. Source: method.md section 14."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from segflow.contracts.labels import Labels
from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy
from segflow.losses.dice import soft_dice_loss, squared_dice_loss
from segflow.network.group import SINGLE, Group
from segflow.recipes.training import TrainingRecipe

__all__ = ["DeepSupervisionLoss", "build_loss", "deep_supervision_weights"]


@dataclass(frozen=True, kw_only=True)
class _OutputLoss:
    """The loss of one output: cross-entropy and Dice, added up with equal weights.

    Attributes:
        labels: Classes or regions.
        batch_dice: Sum Dice over the batch.
        entropy: Use the cross-entropy.
        dice: Use the Dice loss.
        squared: As one ratio of all classes, background included, with squared denominators.
        share: Part of each patch's voxels, those of highest cross-entropy, over which its mean is taken; 1 for all.
        per_class: Divide the cross-entropy by the number of classes or regions.
        group: The processes that share a batch.
    """

    labels: Labels
    batch_dice: bool
    entropy: bool
    dice: bool
    squared: bool
    share: float
    per_class: bool
    group: Group

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: (b, classes or regions, *spatial), background first.
            target: The class of each voxel, (b, *spatial), any integer type; or regions, (b, r, *spatial), boolean,
                with a last channel for ignore if there is such a label.
        """
        loss = self._of_regions if self.labels.has_regions else self._of_classes
        return loss(logits.to(torch.promote_types(logits.dtype, torch.float32)), target)

    def _of_classes(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of classes that exclude each other: their softmax; Dice leaves out the background, unless it is squared."""
        log_p = torch.log_softmax(logits, dim=1)
        y, mask = target.long().unsqueeze(1), None
        if self.labels.ignore is not None:
            mask = y != self.labels.ignore
            y = y * mask

        def overlap() -> tuple[Tensor, Tensor]:
            first = int(not self.squared)
            classes = torch.arange(first, logits.shape[1], device=y.device).view(1, -1, *[1] * (y.ndim - 2))
            return log_p[:, first:].exp(), y == classes

        return self._sum(partial(cross_entropy, log_p, y), overlap, mask, logits.shape[1])

    def _of_regions(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of regions that may overlap: their sigmoids."""
        y, mask = target, None
        if self.labels.ignore is not None:
            y, mask = target[:, :-1], ~target[:, -1:].bool()
        entropy = partial(binary_cross_entropy, logits, y)
        return self._sum(entropy, lambda: (torch.sigmoid(logits), y), mask, logits.shape[1])

    def _sum(
        self,
        entropy: Callable[..., Tensor],
        overlap: Callable[[], tuple[Tensor, Tensor]],
        mask: Tensor | None,
        n_outputs: int,
    ) -> Tensor:
        terms = []
        if self.entropy:
            costs = entropy(share=self.share, mask=mask, group=self.group)
            terms.append(costs / n_outputs if self.per_class else costs)
        if self.dice:
            p, y = overlap()
            dice = squared_dice_loss if self.squared else soft_dice_loss
            terms.append(dice(p, y, batch_dice=self.batch_dice, mask=mask, group=self.group))
        return sum(terms[1:], start=terms[0])


def build_loss(
    labels: Labels,
    recipe: TrainingRecipe,
    weights: Sequence[float],
    *,
    batch_dice: bool,
    group: Group = SINGLE,
) -> DeepSupervisionLoss:
    """The loss for a set of labels and a number of outputs.

    Args:
        labels: Classes or regions, with or without ignore.
        recipe: Names the loss.
        weights: Of the network's outputs (`deep_supervision_weights`).
        batch_dice: Sum Dice over the batch.
        group: The processes that share a batch.

    Returns:
        A callable of (list of logits, list of targets), full resolution first.
    """
    loss = _OutputLoss(
        labels=labels,
        batch_dice=batch_dice,
        entropy=recipe.loss != "dice",
        dice=recipe.loss != "ce",
        squared=recipe.dice == "squared",
        share=recipe.top_k_share if recipe.loss == "dice_topk" else 1.0,
        per_class=recipe.entropy_per_class,
        group=group,
    )
    return DeepSupervisionLoss(loss, tuple(weights))


def deep_supervision_weights(n_scales: int, given: Sequence[float] | None = None) -> tuple[float, ...]:
    """Weights 2^-i, the coarsest 0, or given ones; divided by their sum.

    Args:
        n_scales: Outputs of the network, at least 1. A single output keeps its weight.
        given: Weights of the first outputs, the first one above 0; further outputs have weight 0, further weights are
            left out.

    Returns:
        One weight per output, full resolution first; their sum is 1.
    """
    if given is None:
        given = [2.0**-i for i in range(max(n_scales - 1, 1))]
    weights = [*given[:n_scales], *[0.0] * (n_scales - len(given))]
    return tuple(weight / sum(weights) for weight in weights)


@dataclass(frozen=True)
class DeepSupervisionLoss:
    """The weighted sum of a loss over resolutions. Outputs of weight 0 are ignored.

    Attributes:
        loss: Loss of one output and its target.
        weights: Per output, full resolution first.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    weights: tuple[float, ...]

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            outputs: Logits, full resolution first.
            targets: In the same order; those of weight 0 at the end may be missing.
        """
        used = [(i, weight) for i, weight in enumerate(self.weights) if weight > 0]
        first, *rest = [weight * self.loss(outputs[i], targets[i]) for i, weight in used]
        return sum(rest, start=first)
