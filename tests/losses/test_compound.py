"""Every loss, with classes, regions and ignore, against float64 references; weights of resolutions."""

import math

import numpy as np
import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.losses.compound import DeepSupervisionLoss, build_loss, deep_supervision_weights
from segflow.recipes.training import TrainingRecipe

E = 1e-5
NAMES = ["dice_ce", "dice_topk", "ce", "dice"]
FLARE = {"loss": "dice_topk", "dice": "squared", "entropy_per_class": True}
CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
IGNORE = Labels((*CLASSES.entries, ("ignore", 3)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
REGIONS_IGNORE = Labels((*REGIONS.entries, ("ignore", 3)), (1, 2))


def arrays_for(labels):
    generator = torch.Generator().manual_seed(4)
    n_ignored = int(labels.ignore is not None)
    if labels.has_regions:
        target = torch.rand(3, 2 + n_ignored, 37, generator=generator) > 0.6
    else:
        target = torch.randint(0, 3 + n_ignored, (3, 37), generator=generator, dtype=torch.int16)
    return torch.randn(3, labels.n_outputs, 37, generator=generator), target


def built(labels, *, batch_dice=False, **changes):
    return build_loss(labels, TrainingRecipe(**changes), (1.0,), batch_dice=batch_dice)


def dice(p, y):
    return (2 * (p * y).sum() + E) / (p.sum() + y.sum() + E)


def patch_terms(labels, logits, target):
    """Cross-entropies, probabilities and truths (target, voxel) of the annotated voxels of a patch, in float64."""
    if labels.has_regions:
        valid = ~target[2] if labels.ignore else np.ones(37, bool)
        p, y = 1 / (1 + np.exp(-logits[:, valid])), target[:2, valid]
        return -np.where(y, np.log(p), np.log(1 - p)).ravel(), p, y
    valid = target != (labels.ignore or -1)
    p, y = np.exp(logits[:, valid]), target[valid]
    p /= p.sum(0)
    return -np.log(p[y, np.arange(y.size)]), p[1:], y == np.array([[1], [2]])


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("labels", [CLASSES, IGNORE, REGIONS, REGIONS_IGNORE])
@pytest.mark.parametrize("name", NAMES)
def test_every_loss(name, labels, batch_dice):
    logits, target = arrays_for(labels)
    before = logits.clone(), target.clone()
    share = 0.2 if name == "dice_topk" else 1
    found = built(labels, loss=name, top_k_share=0.2, batch_dice=batch_dice)([logits], [target])
    patches = [
        patch_terms(labels, *arrays) for arrays in zip(logits.double().numpy(), target.numpy(), strict=True)
    ]
    costs = np.hstack([np.sort(costs)[::-1][: round(share * costs.size)] for costs, _, _ in patches])
    groups = [patches] if batch_dice else [[patch] for patch in patches]
    scores = [
        dice(np.hstack([p[c] for _, p, _ in group]), np.hstack([y[c] for _, _, y in group]))
        for group in groups
        for c in range(2)
    ]
    expected = costs.mean() * (name != "dice") - np.mean(scores) * (name != "ce")
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(logits, before[0])
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("changes", [{}, FLARE], ids=["default", "flare21"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("labels", [IGNORE, REGIONS_IGNORE])
def test_no_loss_learns_from_voxels_that_are_not_annotated(labels, name, changes):
    logits = torch.randn(1, labels.n_outputs, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.ones(1, 3, 8, dtype=torch.bool) if labels.has_regions else torch.full((1, 8), 3)
    built(labels, **changes | {"loss": name})([logits], [target]).backward()
    assert not logits.grad.any()


def formula_1(logits, truth, *, top=0.1):
    """The loss of a patch as the FLARE 2021 entry writes it, voxel by voxel in plain Python, float64.

    Args:
        logits, truth: (class, voxel); the truth is one-hot.
        top: The part of the voxels whose terms count in T.
    """
    n_classes, n_voxels = logits.shape
    overlap = squares = 0.0
    terms = []
    for voxel in range(n_voxels):
        powers = [math.exp(logits[c, voxel]) for c in range(n_classes)]
        for c in range(n_classes):
            p, g = powers[c] / sum(powers), float(truth[c, voxel])
            overlap += p * g
            squares += p**2 + g**2
            if g:
                terms.append(-g * math.log(p))
    t = sorted(terms, reverse=True)[round(top * n_voxels) - 1]
    hardest = [term for term in terms if term >= t]
    return 1 - 2 * overlap / squares + sum(hardest) / (n_classes * len(hardest))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_flare21_against_formula_1(n_classes):
    """Value and gradient, by central differences, in float64."""
    rng = np.random.default_rng(n_classes)
    logits, target = rng.normal(scale=3, size=(n_classes, 60)), rng.integers(n_classes, size=60)
    truth = target == np.arange(n_classes)[:, None]
    labels = Labels((("background", 0), *((f"organ {c}", c) for c in range(1, n_classes))))
    given = torch.tensor(logits[None]).requires_grad_()
    loss = built(labels, **FLARE)([given], [torch.tensor(target[None])])
    loss.backward()
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(formula_1(logits, truth), rel=1e-12)
    slopes = np.empty_like(logits)
    for at in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[at] = 1e-6
        slopes[at] = (formula_1(logits + step, truth) - formula_1(logits - step, truth)) / 2e-6
    np.testing.assert_allclose(given.grad[0].numpy(), slopes, rtol=1e-5, atol=1e-9)


def test_flare21_of_patches_is_the_mean_of_formula_1():
    logits, target = arrays_for(CLASSES)
    found = built(CLASSES, **FLARE)([logits], [target])
    truth = target[:, None] == torch.arange(3)[:, None]
    each = [formula_1(a.double().numpy(), b.numpy()) for a, b in zip(logits, truth, strict=True)]
    assert found.item() == pytest.approx(np.mean(each), rel=1e-6)


def test_flare21_with_unannotated_voxels_is_that_of_the_others():
    logits, target = arrays_for(IGNORE)
    logits, target = logits[:1], target[:1]
    valid = target[0] < 3
    found = built(IGNORE, **FLARE)([logits], [target])
    truth = target[0, valid] == torch.arange(3)[:, None]
    assert found.item() == pytest.approx(formula_1(logits[0, :, valid].numpy(), truth.numpy()), rel=1e-6)


def test_squared_dice_and_entropy_per_region_by_hand():
    """The probabilities are 1/2; of two regions and two voxels, three entries of four are true."""
    target = torch.tensor([[[True, True], [True, False]]])
    found = built(REGIONS, dice="squared", entropy_per_class=True)([torch.zeros(1, 2, 2)], [target])
    assert found.item() == pytest.approx(math.log(2) / 2 + 1 - 2 * 1.5 / (4 * 0.25 + 3))


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
