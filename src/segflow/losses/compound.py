"""Cross-entropy, Dice, or both, summed over the outputs of several resolutions. Source: method.md section 14."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segflow.contracts.labels import Labels
from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy
from segflow.losses.dice import soft_dice_loss
from segflow.network.group import SINGLE, Group
from segflow.recipes.training import TrainingRecipe

__all__ = [
    "ClassLoss",
    "DeepSupervisionLoss",
    "RegionLoss",
    "build_loss",
    "deep_supervision_weights",
]


@dataclass(frozen=True, kw_only=True)
class _OutputLoss:
    """The loss of one output: cross-entropy and Dice, added up with equal weights.

    Attributes:
        batch_dice: Sum Dice over the batch.
        entropy: Use the cross-entropy.
        dice: Use the Dice loss.
        share: Part of each patch's voxels, those of highest cross-entropy, over which its mean is taken; 1 for all.
        group: The processes that share a batch.
    """

    batch_dice: bool
    entropy: bool = True
    dice: bool = True
    share: float = 1.0
    group: Group = SINGLE


@dataclass(frozen=True, kw_only=True)
class ClassLoss(_OutputLoss):
    """The loss on the softmax over classes that exclude each other; Dice leaves out the background.

    Attributes:
        ignore: Target value of voxels that do not count, if there is one.
    """

    ignore: int | None = None

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: (b, c, *spatial), background first.
            target: Class of each voxel, (b, *spatial), any integer type.
        """
        log_p = torch.log_softmax(logits.float(), dim=1)
        y = target.long().unsqueeze(1)
        mask = None
        if self.ignore is not None:
            mask = y != self.ignore
            y = y * mask
        terms, group = [], self.group
        if self.entropy:
            terms.append(cross_entropy(log_p, y, share=self.share, mask=mask, group=group))
        if self.dice:
            classes = torch.arange(1, logits.shape[1], device=y.device).view(1, -1, *[1] * (y.ndim - 2))
            p, y = log_p[:, 1:].exp(), y == classes
            terms.append(soft_dice_loss(p, y, batch_dice=self.batch_dice, mask=mask, group=group))
        return sum(terms[1:], start=terms[0])


@dataclass(frozen=True, kw_only=True)
class RegionLoss(_OutputLoss):
    """The loss on the sigmoid of regions that may overlap, with the binary cross-entropy.

    Attributes:
        ignore_last: The target's last channel marks voxels that do not count.
    """

    ignore_last: bool = False

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: (b, r, *spatial).
            target: Boolean, (b, r, *spatial), or r + 1 channels with `ignore_last`.
        """
        logits = logits.float()
        y, mask = target, None
        if self.ignore_last:
            y, mask = target[:, :-1], ~target[:, -1:].bool()
        terms, group = [], self.group
        if self.entropy:
            terms.append(binary_cross_entropy(logits, y, share=self.share, mask=mask, group=group))
        if self.dice:
            p = torch.sigmoid(logits)
            terms.append(soft_dice_loss(p, y, batch_dice=self.batch_dice, mask=mask, group=group))
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
    base = _OutputLoss(
        batch_dice=batch_dice,
        entropy=recipe.loss != "dice",
        dice=recipe.loss != "ce",
        share=recipe.top_k_share if recipe.loss == "dice_topk" else 1.0,
        group=group,
    )
    loss: Callable[[Tensor, Tensor], Tensor]
    if labels.has_regions:
        loss = RegionLoss(**vars(base), ignore_last=labels.ignore is not None)
    else:
        loss = ClassLoss(**vars(base), ignore=labels.ignore)
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
