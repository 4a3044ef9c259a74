"""The network and one step, against the plain formula."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_problem import Bar, Reader, Store, make_job

from segflow.contracts.errors import TrainingError
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch, BatchMaker
from segflow.training.job import Pretrained
from segflow.training.loop import train
from segflow.training.step import Learner, learning_rate


def batch_of(job, number=0):
    return BatchMaker(job, Reader()).make(number)


def copied(learner):
    return {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}


def assert_unchanged(learner, before):
    assert all(torch.equal(before[name], t) for name, t in learner.network.state_dict().items())


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.01), (500, 0.01 * 0.5**0.9), (999, 0.01 * 0.001**0.9)])
def test_polynomial_decay_of_the_learning_rate(epoch, expected):
    assert learning_rate(TrainingRecipe(), epoch) == pytest.approx(expected)
    learner = Learner(make_job(recipe={"epochs": 1000}))
    assert learner.begin_epoch(epoch) == learner.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_first_step_is_clipped_sgd_with_nesterov_momentum():
    job = make_job()
    learner, plain, batch = Learner(job), Learner(job), batch_of(job)
    loss, _ = plain._forward(batch)
    loss.backward()
    gradients = [p.grad for p in plain.network.parameters() if p.grad is not None]
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    shrink = min(1.0, 12 / (float(norm) + 1e-6))
    expected = {}
    for name, p in plain.network.named_parameters():
        if p.grad is None:
            expected[name] = p.detach()
            continue
        step = p.grad * shrink + 3e-5 * p.detach()
        expected[name] = p.detach() - 0.01 * (step + 0.99 * step)
    assert learner.learn(batch) == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, p in learner.network.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_the_head_of_the_coarsest_output_is_left_alone():
    learner = Learner(make_job())
    before = learner.network.decoder.seg_layers[0].weight.detach().clone()
    learner.learn(batch_of(make_job()))
    assert torch.equal(learner.network.decoder.seg_layers[0].weight.detach(), before)


def test_a_loss_that_is_not_finite_changes_nothing():
    learner, batch = Learner(make_job()), batch_of(make_job())
    before = copied(learner)
    assert np.isnan(learner.learn(Batch(batch.image * np.float32("nan"), batch.targets)))
    assert_unchanged(learner, before)


def test_validation_changes_nothing():
    learner, batch = Learner(make_job()), batch_of(make_job(), 3)
    before = copied(learner)
    loss, counts = learner.score(batch)
    assert np.isfinite(loss)
    assert counts.shape == (3, 2)
    assert (counts[0] + counts[2]).tolist() == [(batch.targets[0] == value).sum() for value in (1, 2)]
    assert_unchanged(learner, before)


@pytest.mark.parametrize("name", ["dice_topk", "ce", "dice"])
def test_the_loss_of_the_recipe(name):
    batch = batch_of(make_job())
    assert Learner(make_job(recipe={"loss": name})).learn(batch) != Learner(make_job()).learn(batch)


def test_initial_weights_depend_on_the_seed_alone():
    a, b, c = (Learner(make_job(seed=seed)).network.state_dict() for seed in (1, 1, 2))
    name = "encoder.stages.0.0.conv.weight"
    assert torch.equal(a[name], b[name])
    assert not torch.equal(a[name], c[name])


def pretrained(**changes):
    weights = Learner(make_job(**changes)).network.state_dict()
    return Pretrained(weights=weights, digest="abc", where="first.pt")


def test_pretrained_weights_with_fresh_heads():
    given = pretrained(seed=5)
    fresh = Learner(make_job()).network.state_dict()
    found = Learner(dataclasses.replace(make_job(), pretrained=given)).network.state_dict()
    for name, tensor in found.items():
        assert torch.equal(tensor, fresh[name] if "seg_layers" in name else given.weights[name]), name


def test_pretrained_weights_of_another_network():
    job = dataclasses.replace(make_job(), pretrained=pretrained(previous_stage="3d_lowres"))
    with pytest.raises(TrainingError, match=r"first\.pt .*\n  encoder\.stages\.0\.0\.conv\.weight: 4 x 1 x "):
        train(job, Reader(), Store(), Bar())
