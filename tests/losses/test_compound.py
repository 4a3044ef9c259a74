"""Cross-entropy + Dice, with classes, regions and ignore, against float64 references."""

import numpy as np
import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.losses import ClassLoss, RegionLoss, build_loss

E = 1e-5
CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
IGNORE = Labels((*CLASSES.entries, ("ignore", 3)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2), ("ignore", 3)), (1, 2))


def dice(p, y):
    return (2 * (p * y).sum() + E) / (p.sum() + y.sum() + E)


def class_reference(logits, target, ignore):
    logits = logits.double().numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    target = target.numpy()
    valid = target != ignore
    entropy = -np.mean([np.log(p[b, target[b, v], v]) for b, v in np.argwhere(valid)])
    scores = [
        dice(p[b, c] * valid[b], (target[b] == c) * valid[b])
        for b in range(len(p))
        for c in range(1, p.shape[1])
    ]
    return entropy - np.mean(scores)


@pytest.mark.parametrize("ignore", [None, 3])
def test_classes(ignore):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 20, generator=generator)
    target = torch.randint(0, 3 if ignore is None else 4, (2, 20), generator=generator, dtype=torch.int16)
    loss = ClassLoss(batch_dice=False, ignore=ignore)(logits, target)
    assert loss.item() == pytest.approx(class_reference(logits, target, ignore), rel=1e-5)


@pytest.mark.parametrize("ignore_last", [False, True])
def test_regions(ignore_last):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 2, 20, generator=generator)
    target = torch.rand(1, 3 if ignore_last else 2, 20, generator=generator) > 0.6
    valid = ~target[0, 2].numpy() if ignore_last else np.ones(20, bool)
    p = 1 / (1 + np.exp(-logits[0].double().numpy()))[:, valid]
    y = target[0, :2].numpy()[:, valid]
    entropy = -np.mean(np.where(y, np.log(p), np.log(1 - p)))
    expected = entropy - np.mean([dice(p[c], y[c]) for c in range(2)])
    loss = RegionLoss(batch_dice=False, ignore_last=ignore_last)(logits, target)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_everything_ignored_gives_no_gradient():
    logits = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ClassLoss(batch_dice=True, ignore=3)(logits, torch.full((1, 8), 3)).backward()
    assert not logits.grad.any()


def test_arguments_are_not_changed():
    logits = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]], dtype=torch.int16)
    before = logits.clone(), target.clone()
    ClassLoss(batch_dice=False, ignore=3)(logits, target)
    assert torch.equal(logits, before[0])
    assert torch.equal(target, before[1])


def test_the_labels_choose_the_loss():
    assert build_loss(CLASSES, batch_dice=True, n_scales=3).loss == ClassLoss(batch_dice=True)
    assert build_loss(IGNORE, batch_dice=False, n_scales=3).loss == ClassLoss(batch_dice=False, ignore=3)
    assert build_loss(REGIONS, batch_dice=False, n_scales=3).loss == RegionLoss(
        batch_dice=False, ignore_last=True
    )
