"""Checkpoints."""

import dataclasses
import math

import pytest
import torch
from tiny_problem import Reader, Store, make_job

from segflow.contracts.errors import TrainingError
from segflow.training.batches import BatchMaker
from segflow.training.monitor import EpochRecord
from segflow.training.state import TrainingState, make_checkpoint, restore_
from segflow.training.step import Learner

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


def test_round_trip():
    job, store, state = make_job(), Store(), TrainingState()
    learner, maker = Learner(job), BatchMaker(job, Reader())
    learner.learn(maker.make(0))
    state.add(RECORD, learner.network.state_dict())
    state.losses, state.seconds = [0.25, -0.5], 3.5
    store.save(make_checkpoint(learner, state, job.parts))
    other = Learner(make_job(seed=9))
    restored = restore_(store.load(), other, job.parts)
    assert str(restored.history) == str(state.history)  # NaN equals NaN here
    assert restored.best_ema == 0.5
    assert (restored.losses, restored.seconds) == ([0.25, -0.5], 3.5)
    assert learner.learn(maker.make(1)) == other.learn(maker.make(1))
    for name, tensor in learner.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])
        assert torch.equal(state.best_weights[name], restored.best_weights[name])


def test_a_checkpoint_does_not_change_with_the_network():
    job = make_job()
    learner, batch = Learner(job), BatchMaker(job, Reader()).make(0)
    learner.learn(batch)
    checkpoint = make_checkpoint(learner, TrainingState(), job.parts)
    weight = next(iter(checkpoint["network"].values()))
    momentum = checkpoint["optimizer"]["state"][0]["momentum_buffer"]
    before = weight.clone(), momentum.clone()
    learner.learn(batch)
    assert torch.equal(weight, before[0])
    assert torch.equal(momentum, before[1])


def test_the_checkpoint_of_another_training_is_refused():
    job = make_job()
    checkpoint = make_checkpoint(Learner(job), TrainingState(), job.parts)
    with pytest.raises(TrainingError, match=r"other settings \(training recipe, seed\)"):
        restore_(checkpoint, Learner(job), make_job(seed=5, recipe={"epochs": 9}).parts)
    for version in (0, 1):
        with pytest.raises(TrainingError, match="another version"):
            restore_(checkpoint | {"version": version}, Learner(job), job.parts)


def test_the_best_epoch():
    state = TrainingState(losses=[1.0, 2.0], seconds=5.0)
    for weight, ema in enumerate([math.nan, 0.2, 0.2, 0.1, 0.3, math.nan]):
        state.add(dataclasses.replace(RECORD, ema=ema), {"w": torch.tensor(weight)})
        assert state.best_weights["w"].item() == [0, 1, 1, 1, 4, 4][weight]
        assert (state.losses, state.seconds) == ([], 0.0)  # a finished epoch leaves none unfinished
    assert state.best_ema == 0.3
    assert len(state.history) == 6
