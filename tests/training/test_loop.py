"""Whole trainings."""

import dataclasses
import math
import multiprocessing

import numpy as np
import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.contracts.folds import Fold
from segflow.contracts.labels import Labels
from segflow.training import train


def assert_same(a, b):
    assert a.weights.keys() == b.weights.keys()
    for name in a.weights:
        assert torch.equal(a.weights[name], b.weights[name]), name
        assert torch.equal(a.best_weights[name], b.best_weights[name]), name
    for x, y in zip(a.history, b.history, strict=True):
        assert dataclasses.replace(x, seconds=0) == dataclasses.replace(y, seconds=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_loss_falls_and_the_history_is_complete(job, reader, store, bar, dimensions):
    task = job(dimensions, recipe={"epochs": 5, "iterations": 8})
    result = train(task, reader, store, bar)
    history = result.history
    assert [record.epoch for record in history] == [0, 1, 2, 3, 4]
    assert history[-1].train_loss < history[0].train_loss
    assert history[0].learning_rate == pytest.approx(0.01)
    assert history[1].learning_rate == pytest.approx(0.01 * 0.8**0.9)
    assert history[0].ema == history[0].mean
    assert len(history[0].pseudo_dice) == 2
    assert all(record.seconds > 0 for record in history)
    assert bar.steps == 40
    assert bar.note.startswith("epoch 5/5 loss ")
    assert store.n_saved == 5


def test_an_interrupted_training_ends_with_the_same_weights(job, reader, store, bar, bar_that_interrupts):
    straight = train(job(), reader, type(store)(), bar)
    with pytest.raises(KeyboardInterrupt):
        train(job(), reader, store, bar_that_interrupts(interrupt_at=8))  # in the third epoch
    assert store.n_saved == 2
    second = bar_that_interrupts()
    resumed = train(job(workers=1), reader, store, second)
    assert_same(resumed, straight)
    assert second.steps == bar.steps
    assert not multiprocessing.active_children()


def test_a_finished_training_is_not_repeated(job, reader, store, bar):
    first = train(job(), reader, store, bar)
    assert_same(train(job(workers=2), reader, store, bar), first)
    assert store.n_saved == 4


def test_workers_and_global_generators_change_nothing(job, reader, store, bar):
    one = train(job(), reader, store, bar)
    torch.manual_seed(5)
    np.random.seed(5)
    state = torch.get_rng_state()
    two = train(job(workers=2), reader, type(store)(), bar)
    assert_same(one, two)
    assert torch.equal(state, torch.get_rng_state())
    other = train(job(seed=2), reader, type(store)(), bar)
    assert other.history[0].train_loss != one.history[0].train_loss


def test_regions_cascade_and_a_residual_encoder(job, reader, store, bar):
    labels = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
    architecture = job().configuration.architecture.model_copy(
        update={"encoder": "residual", "encoder_blocks": (1, 2, 2), "decoder_blocks": (1, 1)}
    )
    task = job(labels=labels, previous_stage="3d_lowres", architecture=architecture, recipe={"epochs": 2})
    result = train(task, reader, store, bar)
    assert all(math.isfinite(record.train_loss) for record in result.history)
    assert result.weights["encoder.stem.conv.weight"].shape[1] == 3


def test_without_validation_cases(job, reader, store, bar):
    result = train(job(fold=Fold(train=("1",), val=()), recipe={"epochs": 2}), reader, store, bar)
    assert math.isnan(result.history[-1].mean)
    assert math.isnan(result.history[-1].validation_loss)
    assert result.best_weights


def test_a_loss_that_is_no_number_is_an_error(job, reader, store, bar):
    class Corrupt:
        def read(self, identifier):
            case = reader.read(identifier)
            return dataclasses.replace(case, image=np.full_like(case.image, np.nan))

    with pytest.raises(TrainingError, match="loss is nan in epoch 0, iteration 0"):
        train(job(), Corrupt(), store, bar)
    assert store.n_saved == 0
