"""Cross-entropy, Dice, or both, summed over the outputs of several resolutions. Source: method.md section 14."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from segflow.contracts.labels import Labels
from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy
from segflow.losses.dice import soft_dice_loss
from segflow.losses.reduction import SINGLE_PROCESS, Reduction
from segflow.recipes.training import LossName, TrainingRecipe

__all__ = [
    "ClassLoss",
    "DeepSupervisionLoss",
    "RegionLoss",
    "Terms",
    "build_loss",
    "deep_supervision_weights",
]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms that are added up, with equal weights.

    Attributes:
        dice: Minus the soft Dice.
        entropy: Cross-entropy.
        share: Part of each patch's voxels, those of highest cross-entropy, over which its mean is taken; 1 for all.
    """

    dice: bool = True
    entropy: bool = True
    share: float = 1.0


#: What the names of losses mean; `dice_topk` takes the share from the recipe.
_TERMS: Final[dict[LossName, Terms]] = {
    "dice_ce": Terms(),
    "dice_topk": Terms(),
    "ce": Terms(dice=False),
    "dice": Terms(entropy=False),
}


@dataclass(frozen=True, kw_only=True)
class ClassLoss:
    """Cross-entropy and Dice on the softmax over classes that exclude each other.

    Dice leaves out the background.

    Attributes:
        batch_dice: Sum Dice over the batch.
        ignore: Target value of voxels that do not count, if there is one.
        reduction: Over the processes that share a batch.
        terms: Terms that are added up.
    """

    batch_dice: bool
    ignore: int | None = None
    reduction: Reduction = SINGLE_PROCESS
    terms: Terms = Terms()

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output.

        Args:
            logits: (b, c, *spatial), background first.
            target: Class of each voxel, (b, *spatial), any integer type.

        Returns:
            Scalar.
        """
        log_p = torch.log_softmax(logits.float(), dim=1)
        y = target.long().unsqueeze(1)
        mask = None
        if self.ignore is not None:
            mask = y != self.ignore
            y = y * mask
        terms, reduction = [], self.reduction
        if self.terms.entropy:
            terms.append(cross_entropy(log_p, y, share=self.terms.share, mask=mask, reduction=reduction))
        if self.terms.dice:
            classes = torch.arange(1, logits.shape[1], device=y.device).view(1, -1, *[1] * (y.ndim - 2))
            p, y = log_p[:, 1:].exp(), y == classes
            terms.append(soft_dice_loss(p, y, batch_dice=self.batch_dice, mask=mask, reduction=reduction))
        return sum(terms[1:], start=terms[0])


@dataclass(frozen=True, kw_only=True)
class RegionLoss:
    """Binary cross-entropy and Dice on the sigmoid of regions that may overlap.

    Attributes:
        batch_dice: Sum Dice over the batch.
        ignore_last: The target's last channel marks voxels that do not count.
        reduction: Over the processes that share a batch.
        terms: Terms that are added up.
    """

    batch_dice: bool
    ignore_last: bool = False
    reduction: Reduction = SINGLE_PROCESS
    terms: Terms = Terms()

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output.

        Args:
            logits: (b, r, *spatial).
            target: Boolean, (b, r, *spatial), or r + 1 channels with `ignore_last`.

        Returns:
            Scalar.
        """
        logits = logits.float()
        mask = None
        if self.ignore_last:
            target, mask = target[:, :-1], ~target[:, -1:].bool()
        terms, reduction = [], self.reduction
        if self.terms.entropy:
            terms.append(
                binary_cross_entropy(logits, target, share=self.terms.share, mask=mask, reduction=reduction)
            )
        if self.terms.dice:
            p = torch.sigmoid(logits)
            terms.append(
                soft_dice_loss(p, target, batch_dice=self.batch_dice, mask=mask, reduction=reduction)
            )
        return sum(terms[1:], start=terms[0])


def build_loss(
    labels: Labels,
    recipe: TrainingRecipe,
    weights: Sequence[float],
    *,
    batch_dice: bool,
    reduction: Reduction = SINGLE_PROCESS,
) -> DeepSupervisionLoss:
    """The loss for a set of labels and a number of outputs.

    Args:
        labels: Classes or regions, with or without ignore.
        recipe: Names the loss.
        weights: Of the network's outputs (`deep_supervision_weights`).
        batch_dice: Sum Dice over the batch.
        reduction: Over the processes that share a batch.

    Returns:
        A callable of (list of logits, list of targets), full resolution first.
    """
    terms = _TERMS[recipe.loss]
    if recipe.loss == "dice_topk":
        terms = replace(terms, share=recipe.top_k_share)
    loss: Callable[[Tensor, Tensor], Tensor]
    if labels.has_regions:
        ignore_last = labels.ignore is not None
        loss = RegionLoss(batch_dice=batch_dice, ignore_last=ignore_last, reduction=reduction, terms=terms)
    else:
        loss = ClassLoss(batch_dice=batch_dice, ignore=labels.ignore, reduction=reduction, terms=terms)
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
