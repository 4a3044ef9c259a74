"""Checkpoints."""

import dataclasses
import math

import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.training.job import batch_maker, make_learner
from segflow.training.monitor import EpochRecord
from segflow.training.state import Memory, checkpoint_from, restore_

RECORD = EpochRecord(
    epoch=0,
    learning_rate=0.01,
    train_loss=1.0,
    validation_loss=math.nan,
    pseudo_dice=(0.5, math.nan),
    mean=0.5,
    ema=0.5,
    seconds=1.0,
)


def test_round_trip(job, reader, store):
    task = job()
    learner = make_learner(task)
    learner.learn(batch_maker(task, reader).make(0))
    memory = Memory()
    memory.add(RECORD, learner.network.state_dict())
    memory.losses, memory.seconds = [0.25, -0.5], 3.5
    store.save(checkpoint_from(learner, memory, task.parts))
    other = make_learner(job(seed=9))
    restored = restore_(store.load(), other, task.parts)
    assert str(restored.history) == str(memory.history)  # NaN equals NaN here
    assert restored.best_ema == 0.5
    assert (restored.losses, restored.seconds) == ([0.25, -0.5], 3.5)
    batch = batch_maker(task, reader).make(1)
    assert learner.learn(batch) == other.learn(batch)
    for name, tensor in learner.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])
        assert torch.equal(memory.best_weights[name], restored.best_weights[name])


def test_a_checkpoint_does_not_change_with_the_network(job, reader):
    task = job()
    learner = make_learner(task)
    batch = batch_maker(task, reader).make(0)
    learner.learn(batch)
    state = checkpoint_from(learner, Memory(), task.parts)
    name = next(iter(state["network"]))
    weight, momentum = (
        state["network"][name].clone(),
        state["optimizer"]["state"][0]["momentum_buffer"].clone(),
    )
    learner.learn(batch)
    assert torch.equal(state["network"][name], weight)
    assert torch.equal(state["optimizer"]["state"][0]["momentum_buffer"], momentum)


def test_another_training_s_checkpoint_is_refused(job):
    task = job()
    state = checkpoint_from(make_learner(task), Memory(), task.parts)
    with pytest.raises(TrainingError, match=r"other settings \(training recipe, seed\)"):
        restore_(state, make_learner(task), job(seed=5, recipe={"epochs": 9}).parts)
    for version in (0, 1):
        with pytest.raises(TrainingError, match="another version"):
            restore_(state | {"version": version}, make_learner(task), task.parts)


def test_device_and_workers_may_change(job):
    assert dataclasses.replace(job(), workers=3, device="cuda").parts == job().parts


def test_the_best_epoch(job):
    memory = Memory()
    for weight, ema in enumerate([math.nan, 0.2, 0.2, 0.1, 0.3, math.nan]):
        memory.add(dataclasses.replace(RECORD, ema=ema), {"w": torch.tensor(weight)})
        expected = [0, 1, 1, 1, 4, 4][weight]
        assert memory.best_weights["w"].item() == expected
    assert memory.best_ema == 0.3
    assert len(memory.history) == 6


def test_a_finished_epoch_ends_the_one_begun():
    memory = Memory(losses=[1.0, 2.0], seconds=5.0)
    memory.add(RECORD, {"w": torch.tensor(0)})
    assert (memory.losses, memory.seconds) == ([], 0.0)
