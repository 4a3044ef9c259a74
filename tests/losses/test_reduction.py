"""A batch that two processes share has the loss and the gradient of the whole."""

import threading

import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.losses.compound import build_loss
from segflow.recipes.training import TrainingRecipe

CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
IGNORE = Labels((*CLASSES.entries, ("ignore", 3)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
REGIONS_IGNORE = Labels((*REGIONS.entries, ("ignore", 3)), (1, 2))


class Sum(torch.autograd.Function):
    @staticmethod
    def forward(_context, mine, others):
        return mine + others

    @staticmethod
    def backward(_context, gradient):
        return gradient, None


class Thread(threading.Thread):
    """One of two that add up what they have; it is its own `Reduction`."""

    def __init__(self, share, lines, barrier, problem):
        super().__init__()
        self.share, self.lines, self.barrier, self.problem = share, lines, barrier, problem
        self.mine = [None]

    def sum(self, mine):
        self.mine[0] = mine.detach()
        self.barrier.wait(timeout=20)
        others = next(line[0] for line in self.lines if line is not self.mine)
        self.barrier.wait(timeout=20)
        return Sum.apply(mine, others)

    def mean(self, mine):
        return self.sum(mine * self.share)

    def run(self):
        labels, recipe, batch_dice, logits, target = self.problem
        self.logits = logits.clone().requires_grad_()
        loss = build_loss(labels, recipe, (1.0,), batch_dice=batch_dice, reduction=self)
        self.loss = loss([self.logits], [target])
        self.loss.backward()


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("labels", [CLASSES, IGNORE, REGIONS, REGIONS_IGNORE])
@pytest.mark.parametrize("name", ["dice_ce", "dice_topk", "ce", "dice"])
def test_loss_and_gradient(name, labels, batch_dice):
    recipe = TrainingRecipe(loss=name, top_k_share=0.3)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, labels.n_outputs, 5, 6, generator=generator)
    if labels.has_regions:
        channels = 2 + (labels.ignore is not None)
        target = torch.rand(3, channels, 5, 6, generator=generator) > 0.6
    else:
        target = torch.randint(0, 3 + (labels.ignore is not None), (3, 5, 6), generator=generator)
    whole = logits.clone().requires_grad_()
    loss = build_loss(labels, recipe, (1.0,), batch_dice=batch_dice)([whole], [target])
    loss.backward()
    lines, barrier = [], threading.Barrier(2)
    threads = []
    for part in (slice(0, 3, 2), slice(1, 3, 2)):
        problem = (labels, recipe, batch_dice, logits[part], target[part])
        threads.append(Thread(len(logits[part]) / 3, lines, barrier, problem))
        lines.append(threads[-1].mine)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        torch.testing.assert_close(thread.loss, loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(threads[0].logits.grad, whole.grad[0::2], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(threads[1].logits.grad, whole.grad[1::2], rtol=1e-5, atol=1e-8)
