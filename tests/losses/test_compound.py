"""Every loss, with classes, regions and ignore, against float64 references; weights of resolutions."""

import dataclasses

import numpy as np
import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.losses.compound import (
    ClassLoss,
    DeepSupervisionLoss,
    RegionLoss,
    build_loss,
    deep_supervision_weights,
)
from segflow.recipes.training import TrainingRecipe

E = 1e-5
NAMES = ["dice_ce", "dice_topk", "ce", "dice"]
CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
IGNORE = Labels((*CLASSES.entries, ("ignore", 3)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2), ("ignore", 3)), (1, 2))


def dice(p, y):
    return (2 * (p * y).sum() + E) / (p.sum() + y.sum() + E)


def test_arguments_are_not_changed():
    logits = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]], dtype=torch.int16)
    before = logits.clone(), target.clone()
    ClassLoss(batch_dice=False, ignore=3)(logits, target)
    assert torch.equal(logits, before[0])
    assert torch.equal(target, before[1])


def built(labels, *, batch_dice=False, **changes):
    return build_loss(labels, TrainingRecipe(**changes), (1.0,), batch_dice=batch_dice)


def test_the_labels_choose_the_loss():
    assert built(CLASSES, batch_dice=True).loss == ClassLoss(batch_dice=True)
    assert built(IGNORE).loss == ClassLoss(batch_dice=False, ignore=3)
    assert built(REGIONS).loss == RegionLoss(batch_dice=False, ignore_last=True)


def plain_terms(logits, target, *, share, ignore, batch_dice):
    """Entropy and minus Dice of classes, in float64, patch by patch and class by class."""
    logits = logits.double().numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    target = target.numpy()
    valid = target != ignore
    total = n = 0
    for b in range(len(p)):
        costs = sorted((-np.log(p[b, target[b, v], v]) for v in np.flatnonzero(valid[b])), reverse=True)
        taken = costs[: max(round(share * len(costs)), 1)]
        total, n = total + sum(taken), n + len(taken)
    groups = [list(range(len(p)))] if batch_dice else [[b] for b in range(len(p))]
    scores = [
        dice(*(np.concatenate([array[b][valid[b]] for b in group]) for array in (p[:, c], target == c)))
        for group in groups
        for c in range(1, p.shape[1])
    ]
    return total / n, -np.mean(scores)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_of_classes(name, ignore, batch_dice):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 3, 37, generator=generator)
    target = torch.randint(0, 3 if ignore is None else 4, (3, 37), generator=generator, dtype=torch.int16)
    labels = CLASSES if ignore is None else IGNORE
    found = built(labels, loss=name, top_k_share=0.2, batch_dice=batch_dice)([logits], [target])
    share = 0.2 if name == "dice_topk" else 1
    entropy, dice_loss = plain_terms(logits, target, share=share, ignore=ignore, batch_dice=batch_dice)
    expected = entropy * (name != "dice") + dice_loss * (name != "ce")
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ignore_last", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_of_regions(name, ignore_last):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 2, 30, generator=generator)
    target = torch.rand(2, 2 + ignore_last, 30, generator=generator) > 0.6
    labels = REGIONS if ignore_last else dataclasses.replace(REGIONS, entries=REGIONS.entries[:-1])
    found = built(labels, loss=name, top_k_share=0.2)([logits], [target])
    total, n, scores = 0.0, 0, []
    for b in range(2):
        valid = ~target[b, 2].numpy() if ignore_last else np.ones(30, bool)
        p = 1 / (1 + np.exp(-logits[b].double().numpy()))[:, valid]
        y = target[b, :2].numpy()[:, valid]
        costs = np.sort(-np.where(y, np.log(p), np.log(1 - p)).ravel())[::-1]
        taken = costs[: round((0.2 if name == "dice_topk" else 1) * costs.size)]
        total, n = total + taken.sum(), n + taken.size
        scores += [dice(p[c], y[c]) for c in range(2)]
    expected = total / n * (name != "dice") - np.mean(scores) * (name != "ce")
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("labels", [IGNORE, REGIONS], ids=["classes", "regions"])
def test_no_loss_learns_from_what_nobody_has_annotated(labels, name):
    logits = torch.randn(1, labels.n_outputs, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.ones(1, 3, 8, dtype=torch.bool) if labels.has_regions else torch.full((1, 8), 3)
    built(labels, loss=name)([logits], [target]).backward()
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("n", "given", "expected"),
    [
        (4, None, (4 / 7, 2 / 7, 1 / 7, 0)),
        (2, None, (1, 0)),
        (1, None, (1,)),
        (5, (0.7, 0.2, 0.1), (0.7, 0.2, 0.1, 0, 0)),
        (3, (7, 2, 1), (0.7, 0.2, 0.1)),
        (2, (0.7, 0.2, 0.1), (7 / 9, 2 / 9)),
        (1, (0.7, 0.2, 0.1), (1,)),
    ],
)
def test_weights_of_resolutions(n, given, expected):
    assert deep_supervision_weights(n, given) == pytest.approx(expected)


def test_weighted_sum_without_the_outputs_of_weight_zero():
    loss = DeepSupervisionLoss(lambda output, target: (output - target).sum(), (0.75, 0.25, 0.0))
    outputs = [torch.tensor([8.0]), torch.tensor([4.0]), torch.tensor([float("nan")])]
    targets = [torch.tensor([0.0]), torch.tensor([0.0])]
    assert loss(outputs, targets).item() == 7
