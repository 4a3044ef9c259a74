"""Checkpoints."""

import math

import pytest
import torch
from tiny_problem import Reader, Store, make_job

from segflow.contracts.errors import TrainingError
from segflow.training.batches import BatchMaker
from segflow.training.monitor import EpochRecord
from segflow.training.state import TrainingState, make_checkpoint, state_of
from segflow.training.step import Learner
from segflow.training.transfer import load

RECORD = EpochRecord(
    epoch=0,
    learning_rate=0.01,
    train_loss=1.0,
    validation_loss=math.nan,
    pseudo_dice=[0.5, math.nan],
    mean=0.5,
    ema=0.5,
    skipped=1,
    seconds=1.0,
)


def test_a_learner_goes_on_from_a_checkpoint_which_later_steps_do_not_change():
    job, store, state = make_job(), Store(), TrainingState()
    learner, maker = Learner(job), BatchMaker(job, Reader())
    first, second = (load(maker.make(number), torch.device("cpu")) for number in (0, 1))
    learner.learn(first)
    weights = learner.weights()
    state.add(RECORD)
    state.losses, state.skipped, state.seconds = [0.25, -0.5], 1, 3.5
    checkpoint = make_checkpoint(learner.state(), state, job.parts)
    loss = learner.learn(second).read()
    store.save(checkpoint)
    other = Learner(make_job(seed=9))
    other.restore_(store.load())
    restored = state_of(store.load(), job.parts)
    assert str(restored.history) == str(state.history)  # NaN equals NaN here
    assert (restored.losses, restored.skipped, restored.seconds) == ([0.25, -0.5], 1, 3.5)
    torch.testing.assert_close(other.weights(), weights, rtol=0, atol=0)
    assert other.learn(second).read() == loss
    torch.testing.assert_close(other.weights(), learner.weights(), rtol=0, atol=0)


def test_the_checkpoint_of_another_training_is_refused():
    checkpoint = make_checkpoint({}, TrainingState(), make_job().parts)
    with pytest.raises(TrainingError, match=r"other settings \(training recipe, seed\)"):
        state_of(checkpoint, make_job(seed=5, recipe={"epochs": 9}).parts)
    for version in (0, 1):
        with pytest.raises(TrainingError, match="another version"):
            state_of(checkpoint | {"version": version}, make_job().parts)


def test_a_finished_epoch_leaves_none_unfinished():
    state = TrainingState(losses=[1.0, 2.0], skipped=1, seconds=5.0)
    state.add(RECORD)
    assert state == TrainingState(history=[RECORD])
