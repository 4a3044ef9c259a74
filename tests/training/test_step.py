"""One step, against the plain formula."""

import numpy as np
import pytest
import torch

from segflow.training.batches import Batch
from segflow.training.job import batch_maker, make_learner


def test_first_step_is_clipped_sgd_with_nesterov_momentum(job, reader):
    task = job()
    learner = make_learner(task)
    plain = make_learner(task)
    batch = batch_maker(task, reader).make(0)
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


def test_the_head_of_the_coarsest_output_is_left_alone(job, reader):
    learner = make_learner(job())
    before = learner.network.decoder.seg_layers[0].weight.detach().clone()
    learner.learn(batch_maker(job(), reader).make(0))
    assert torch.equal(learner.network.decoder.seg_layers[0].weight.detach(), before)


def test_a_loss_that_is_no_number_changes_nothing(job, reader):
    learner = make_learner(job())
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    batch = batch_maker(job(), reader).make(0)
    assert np.isnan(learner.learn(Batch(batch.image * np.float32("nan"), batch.targets)))
    assert all(torch.equal(before[name], t) for name, t in learner.network.state_dict().items())


def test_validation_changes_nothing(job, reader):
    learner = make_learner(job())
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    batch = batch_maker(job(), reader).make(3)
    loss, counts = learner.judge(batch)
    assert np.isfinite(loss)
    assert counts.shape == (3, 2)
    assert (counts[0] + counts[2]).tolist() == [(batch.targets[0] == value).sum() for value in (1, 2)]
    assert all(torch.equal(before[name], t) for name, t in learner.network.state_dict().items())


def test_learning_without_deep_supervision(job, reader):
    task = job(recipe={"deep_supervision": False})
    assert np.isfinite(make_learner(task).learn(batch_maker(task, reader).make(0)))
