"""Whole trainings."""

import dataclasses
import math
import multiprocessing

import numpy as np
import pytest
import torch

from segflow.contracts.errors import Interrupted, TrainingError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Fold
from segflow.training.batches import BatchMaker
from segflow.training.loop import train


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


class StopAfter:
    """Asks for a stop from the given step on."""

    def __init__(self, step):
        self.step = step
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.asked >= self.step


SHORT = {"epochs": 2, "iterations": 3, "validation_iterations": 2}


@pytest.fixture(scope="module")
def short_training():
    """Results of trainings that were not stopped, made once."""
    return {}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", range(1, 7))
def test_stopped_after_any_step_and_resumed(
    job, reader, store, bar_that_interrupts, short_training, step, workers
):
    if not short_training:
        short_training[0] = train(job(recipe=SHORT), reader, type(store)(), bar_that_interrupts())
    bar, second = bar_that_interrupts(), bar_that_interrupts()
    with pytest.raises(Interrupted):
        train(job(recipe=SHORT, workers=workers), reader, store, bar, stop=StopAfter(step))
    assert not multiprocessing.active_children()
    assert bar.steps == step
    state = store.load()
    done, begun = divmod(step - 1, 3)
    assert state["version"] == 2
    assert len(state["history"]) == done
    assert len(state["losses"]) == begun + 1  # within an epoch, even if all its steps are done
    assert state["seconds"] > 0
    assert store.n_saved == done + 1
    resumed = train(job(recipe=SHORT), reader, store, second, stop=lambda: False)
    assert_same(resumed, short_training[0])
    assert second.steps == 6
    assert all(record.seconds > 0 for record in resumed.history)


def test_stopped_after_every_step(job, reader, store, bar_that_interrupts):
    """A job of a minute at a time still gets there."""
    stops = 0
    while True:
        try:
            result = train(job(recipe=SHORT), reader, store, bar_that_interrupts(), stop=StopAfter(1))
            break
        except Interrupted:
            stops += 1
    assert stops == 6
    assert_same(result, train(job(recipe=SHORT), reader, type(store)(), bar_that_interrupts()))


def test_the_time_before_a_stop_counts(job, reader, store, bar):
    with pytest.raises(Interrupted):
        train(job(recipe=SHORT), reader, store, bar, stop=StopAfter(2))
    state = store.load()
    store.save(state | {"seconds": 1000.0})
    resumed = train(job(recipe=SHORT), reader, store, bar)
    first, second = (record.seconds for record in resumed.history)
    assert 1000 < first < 1100
    assert second < 100


def test_killed_between_two_steps_after_a_stop(job, reader, store, bar, bar_that_interrupts):
    """The state of the stop is still there, because nothing has replaced it."""
    straight = train(job(recipe=SHORT), reader, type(store)(), bar)
    with pytest.raises(Interrupted):
        train(job(recipe=SHORT), reader, store, bar, stop=StopAfter(2))
    with pytest.raises(KeyboardInterrupt):
        train(job(recipe=SHORT), reader, store, bar_that_interrupts(interrupt_at=3))
    assert_same(train(job(recipe=SHORT), reader, store, bar), straight)


def test_without_a_stop_the_question_is_asked_after_every_step(job, reader, store, bar):
    never = StopAfter(99)
    train(job(recipe=SHORT), reader, store, bar, stop=never)
    assert never.asked == 6
    assert store.load()["losses"] == []


def test_a_finished_training_is_not_repeated(job, reader, store, bar):
    first = train(job(), reader, store, bar)
    assert_same(train(job(workers=2), reader, store, bar), first)
    assert store.n_saved == 4


def test_a_part_of_a_longer_schedule(job, reader, store, bar):
    history = train(job(recipe=SHORT | {"schedule_epochs": 10}), reader, store, bar).history
    assert [record.learning_rate for record in history] == pytest.approx([0.01, 0.01 * 0.9**0.9])


#: At this learning rate nothing changes: the first epoch stays the best, and patience decides.
IDLE = {"epochs": 9, "iterations": 2, "validation_iterations": 1, "learning_rate": 1e-30, "patience": 3}


@pytest.fixture
def same_patches(monkeypatch):
    """The validation patches of every epoch are those of the first, so that nothing but the weights can matter."""
    make = BatchMaker.make

    def first_epochs(self, number):
        index = number % self.per_epoch
        return make(self, index if index >= self.iterations else number)

    monkeypatch.setattr(BatchMaker, "make", first_epochs)


@pytest.mark.usefixtures("same_patches")
def test_patience_ends_a_training_that_gains_nothing(job, reader, store, bar, caplog):
    with caplog.at_level("INFO", logger="segflow"):
        result = train(job(recipe=IDLE), reader, store, bar)
    assert [record.epoch for record in result.history] == [0, 1, 2, 3]
    assert store.n_saved == 4
    assert bar.steps == 18  # as if all of them had been done
    assert bar.note == "ended early, after epoch 4/9"
    assert "ended after 4 of 9 epochs: no gain for 3" in caplog.text
    full = train(job(recipe=IDLE | {"patience": None, "epochs": 9}), reader, type(store)(), bar)
    assert len(full.history) == 9
    assert [record.ema for record in full.history[:4]] == [record.ema for record in result.history]


@pytest.mark.usefixtures("same_patches")
@pytest.mark.parametrize("step", [1, 4, 7, 8])
def test_patience_of_a_training_that_was_stopped(job, reader, store, bar, bar_that_interrupts, step):
    straight = train(job(recipe=IDLE), reader, type(store)(), bar)
    with pytest.raises(Interrupted):
        train(job(recipe=IDLE), reader, store, bar_that_interrupts(), stop=StopAfter(step))
    second = bar_that_interrupts()
    assert_same(train(job(recipe=IDLE), reader, store, second), straight)
    assert second.steps == 18
    saved = store.n_saved
    third = bar_that_interrupts()
    assert_same(train(job(recipe=IDLE), reader, store, third), straight)  # it is over
    assert (store.n_saved, third.steps) == (saved, 18)


@pytest.mark.usefixtures("same_patches")
def test_patience_ends_the_workers(job, reader, store, bar):
    straight = train(job(recipe=IDLE), reader, type(store)(), bar)
    assert_same(train(job(recipe=IDLE, workers=2), reader, store, bar), straight)
    assert not multiprocessing.active_children()


def test_without_validation_patience_has_nothing_to_go_by(job, reader, store, bar):
    fold = Fold(train=("1",), val=())
    recipe = {"epochs": 3, "iterations": 1, "patience": 1}
    assert len(train(job(fold=fold, recipe=recipe), reader, store, bar).history) == 3


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
