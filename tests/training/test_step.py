"""The network and one step, against the plain formula."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_problem import Reader, make_job

from segflow.contracts.errors import TrainingError
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch, BatchMaker
from segflow.training.job import Pretrained
from segflow.training.step import Learner, learning_rate


def batch_of(job, number=0):
    return BatchMaker(job, Reader()).make(number)


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("epoch", "expected", "recipe"),
    [
        (0, 0.01, {}),
        (500, 0.01 * 0.5**0.9, {}),
        (999, 0.01 * 0.001**0.9, {}),
        (1, 0.01 * 0.9**0.9, {"epochs": 2, "schedule_epochs": 10}),  # a part of a longer schedule
    ],
)
def test_polynomial_decay_of_the_learning_rate(epoch, expected, recipe):
    assert learning_rate(TrainingRecipe(**recipe), epoch) == pytest.approx(expected)
    learner = Learner(make_job(recipe={"epochs": 1000} | recipe))
    assert learner.begin_epoch(epoch) == learner.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_first_step_is_clipped_sgd_with_nesterov_momentum():
    """The head of the coarsest output has no gradient, and stays as it is."""
    job = make_job()
    learner, plain, batch = Learner(job), Learner(job), batch_of(job)
    loss, _ = plain._forward(batch)
    loss.backward()
    gradients = {name: p.grad for name, p in plain.network.named_parameters() if p.grad is not None}
    norm = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
    shrink = min(1.0, 12 / (float(norm) + 1e-6))
    expected = plain.weights()
    for name, gradient in gradients.items():
        step = gradient * shrink + 3e-5 * expected[name]
        expected[name] = expected[name] - 0.01 * (step + 0.99 * step)
    assert learner.learn(batch) == pytest.approx(float(loss.detach()), rel=1e-5)
    torch.testing.assert_close(learner.weights(), expected, rtol=1e-4, atol=1e-6)
    head = "decoder.seg_layers.0.weight"
    assert head not in gradients
    assert torch.equal(learner.weights()[head], expected[head])


def test_validation_and_a_loss_that_is_not_finite_change_nothing():
    learner, batch = Learner(make_job()), batch_of(make_job(), 3)
    before = learner.weights()
    loss, counts = learner.score(batch)
    assert np.isfinite(loss)
    assert counts.shape == (3, 2)
    assert (counts[0] + counts[2]).tolist() == [(batch.targets[0] == value).sum() for value in (1, 2)]
    assert np.isnan(learner.learn(Batch(batch.image * np.float32("nan"), batch.targets)))
    assert_same(learner.weights(), before)


@pytest.mark.parametrize("name", ["dice_topk", "ce", "dice"])
def test_the_loss_of_the_recipe(name):
    batch = batch_of(make_job())
    assert Learner(make_job(recipe={"loss": name})).learn(batch) != Learner(make_job()).learn(batch)


def test_initial_weights_depend_on_the_seed_alone():
    a, b, c = (Learner(make_job(seed=seed)).weights() for seed in (1, 1, 2))
    assert_same(a, b)
    assert not torch.equal(a["encoder.stages.0.0.conv.weight"], c["encoder.stages.0.0.conv.weight"])


def with_weights_of(**changes):
    weights = Learner(make_job(**changes)).weights()
    pretrained = Pretrained(weights=weights, digest="abc", where="first.pt")
    return dataclasses.replace(make_job(), pretrained=pretrained)


def test_pretrained_weights_with_fresh_heads():
    job = with_weights_of(seed=5)
    fresh = Learner(make_job()).weights()
    expected = {n: fresh[n] if "seg_layers" in n else t for n, t in job.pretrained.weights.items()}
    assert_same(Learner(job).weights(), expected)


def test_pretrained_weights_of_another_network():
    with pytest.raises(TrainingError, match=r"first\.pt .*\n  encoder\.stages\.0\.0\.conv\.weight: 4 x 1 x "):
        Learner(with_weights_of(previous_stage="3d_lowres"))
