"""A batch that two processes share has the loss and the gradient of the whole."""

import threading

import pytest
import torch

from segflow.contracts.labels import Labels
from segflow.losses.compound import build_loss
from segflow.network import group
from segflow.network.group import Group
from segflow.recipes.training import TrainingRecipe

CLASSES = Labels((("background", 0), ("a", 1), ("b", 2)))
IGNORE = Labels((*CLASSES.entries, ("ignore", 3)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
REGIONS_IGNORE = Labels((*REGIONS.entries, ("ignore", 3)), (1, 2))
FLARE = TrainingRecipe(loss="dice_topk", top_k_share=0.3, dice="squared", entropy_per_class=True)


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads in place of two processes: a function that runs the same work in both."""
    sent, barrier = {}, threading.Barrier(2)

    def add_up_(tensor):
        name = threading.current_thread().name
        sent[name] = tensor.clone()
        barrier.wait(timeout=20)
        tensor += next(other for key, other in sent.items() if key != name)
        barrier.wait(timeout=20)

    def run(work):
        threads = [threading.Thread(target=work, args=(Group(rank, 2),)) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    monkeypatch.setattr(group, "_add_up_", add_up_)
    return run


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("labels", [CLASSES, IGNORE, REGIONS, REGIONS_IGNORE])
@pytest.mark.parametrize("name", ["dice_ce", "dice_topk", "ce", "dice", "flare21"])
def test_loss_and_gradient(two_threads, name, labels, batch_dice):
    recipe = TrainingRecipe(loss=name, top_k_share=0.3) if name != "flare21" else FLARE
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, labels.n_outputs, 5, 6, generator=generator)
    n_ignored = int(labels.ignore is not None)
    if labels.has_regions:
        target = torch.rand(3, 2 + n_ignored, 5, 6, generator=generator) > 0.6
    else:
        target = torch.randint(0, 3 + n_ignored, (3, 5, 6), generator=generator)
    found = {}

    def learn(pair):
        part = slice(pair.rank, 3, pair.size)
        mine = logits[part].clone().requires_grad_()
        built = build_loss(labels, recipe, (1.0,), batch_dice=batch_dice, group=pair.sharing(3))
        loss = built([mine], [target[part]])
        loss.backward()
        found[pair.rank] = loss, mine.grad

    whole = logits.clone().requires_grad_()
    loss = build_loss(labels, recipe, (1.0,), batch_dice=batch_dice)([whole], [target])
    loss.backward()
    two_threads(learn)
    for rank in (0, 1):
        torch.testing.assert_close(found[rank][0], loss, rtol=1e-6, atol=0)
        torch.testing.assert_close(found[rank][1], whole.grad[rank::2], rtol=1e-5, atol=1e-8)
