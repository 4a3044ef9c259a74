"""Whole trainings."""

import dataclasses
import math
import multiprocessing

import numpy as np
import pytest
import torch
from tiny_problem import Bar, NaNReader, Reader, StopAfter, Store, make_job

from segflow.contracts.errors import Interrupted, TrainingError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Fold
from segflow.network.group import Group
from segflow.training import loop
from segflow.training.batches import BatchMaker
from segflow.training.loop import train

SHORT = {"epochs": 2, "iterations": 3, "validation_iterations": 2}


def run(job, store=None, bar=None, **options):
    return train(job, options.pop("reader", Reader()), store or Store(), bar or Bar(), **options)


@pytest.fixture(scope="module")
def straight():
    """A training that was not interrupted."""
    return run(make_job(recipe=SHORT))


@pytest.fixture
def store():
    return Store()


def assert_same(a, b):
    assert a.weights.keys() == b.weights.keys()
    for name in a.weights:
        assert torch.equal(a.weights[name], b.weights[name]), name
        assert torch.equal(a.best_weights[name], b.best_weights[name]), name
    for x, y in zip(a.history, b.history, strict=True):
        assert dataclasses.replace(x, seconds=0) == dataclasses.replace(y, seconds=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_loss_falls_and_the_history_is_complete(store, dimensions):
    bar = Bar()
    history = run(make_job(dimensions, recipe={"epochs": 5, "iterations": 8}), store, bar).history
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


def test_a_finished_training_is_not_repeated_and_workers_change_nothing(store):
    torch.manual_seed(5)
    np.random.seed(5)
    generator = torch.get_rng_state()
    first = run(make_job(), store)
    assert torch.equal(generator, torch.get_rng_state())
    assert_same(run(make_job(workers=2), store), first)
    assert store.n_saved == 4
    assert_same(run(make_job(workers=2)), first)
    assert run(make_job(seed=2)).history[0].train_loss != first.history[0].train_loss


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", range(1, 7))
def test_stopped_after_any_step_and_resumed(store, straight, step, workers):
    bar, second = Bar(), Bar()
    with pytest.raises(Interrupted):
        run(make_job(recipe=SHORT, workers=workers), store, bar, stop=StopAfter(step))
    assert not multiprocessing.active_children()
    assert bar.steps == step
    state = store.load()
    done, begun = divmod(step - 1, 3)
    assert state["version"] == 2
    assert len(state["history"]) == done
    assert len(state["losses"]) == begun + 1  # within an epoch, even if all its steps are done
    assert state["seconds"] > 0
    assert store.n_saved == done + 1
    resumed = run(make_job(recipe=SHORT), store, second, stop=lambda: False)
    assert_same(resumed, straight)
    assert second.steps == 6
    assert all(record.seconds > 0 for record in resumed.history)


def test_stopped_after_every_step(store, straight):
    """A job of a minute at a time still gets there."""
    for _ in range(6):
        with pytest.raises(Interrupted):
            run(make_job(recipe=SHORT), store, stop=StopAfter(1))
    never = StopAfter(99)
    assert_same(run(make_job(recipe=SHORT), store, stop=never), straight)
    assert never.asked == 0
    assert store.load()["losses"] == []


def test_the_time_before_a_stop_counts(store):
    with pytest.raises(Interrupted):
        run(make_job(recipe=SHORT), store, stop=StopAfter(2))
    store.save(store.load() | {"seconds": 1000.0})
    first, second = (record.seconds for record in run(make_job(recipe=SHORT), store).history)
    assert 1000 < first < 1100
    assert second < 100


def test_killed_between_two_steps_after_a_stop(store, straight):
    """The state of the stop is still there, because nothing has replaced it."""
    with pytest.raises(Interrupted):
        run(make_job(recipe=SHORT), store, stop=StopAfter(2))
    with pytest.raises(KeyboardInterrupt):
        run(make_job(recipe=SHORT), store, Bar(interrupt_at=3))
    assert_same(run(make_job(recipe=SHORT, workers=1), store), straight)


class Ticking:
    """Every look at the clock is a second later."""

    now = 0
    perf_counter = staticmethod(lambda: 0.0)

    def monotonic(self):
        self.now += 1
        return self.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (float("inf"), [(1, 0), (2, 0)]),
        (1, [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]),
        (2, [(0, 2), (1, 0), (1, 2), (2, 0)]),
    ],
)
def test_saved_within_an_epoch_when_the_last_time_is_long_ago(store, monkeypatch, seconds, expected):
    saved, save = [], store.save
    monkeypatch.setattr(
        store,
        "save",
        lambda state: (saved.append((len(state["history"]), len(state["losses"]))), save(state)),
    )
    monkeypatch.setattr(loop, "time", Ticking())
    job = dataclasses.replace(make_job(recipe=SHORT), checkpoint_s=seconds)
    loop.train_in_group(Group(), Bar(), lambda: False, job, Reader(), store)
    assert saved == expected


def test_killed_after_it_was_saved_within_an_epoch(store, straight):
    job = dataclasses.replace(make_job(recipe=SHORT), checkpoint_s=0)
    with pytest.raises(KeyboardInterrupt):
        run(job, store, Bar(interrupt_at=3))
    assert len(store.load()["losses"]) == 2
    assert store.load()["seconds"] > 0
    second = Bar()
    assert_same(run(job, store, second), straight)
    assert second.steps == 6


def test_a_part_of_a_longer_schedule():
    history = run(make_job(recipe=SHORT | {"schedule_epochs": 10})).history
    assert [record.learning_rate for record in history] == pytest.approx([0.01, 0.01 * 0.9**0.9])


#: At this learning rate nothing changes: the first epoch stays the best, and patience decides.
IDLE = {"epochs": 9, "iterations": 2, "validation_iterations": 1, "learning_rate": 1e-30, "patience": 3}


@pytest.fixture
def same_patches(monkeypatch):
    """The validation patches of every epoch are those of the first, so that only the weights can matter."""
    make = BatchMaker.make

    def first_epochs(self, number):
        index = number % self.per_epoch
        return make(self, index if index >= self.iterations else number)

    monkeypatch.setattr(BatchMaker, "make", first_epochs)


@pytest.mark.usefixtures("same_patches")
def test_patience_ends_a_training_that_gains_nothing(store, caplog):
    bar = Bar()
    with caplog.at_level("INFO", logger="segflow"):
        result = run(make_job(recipe=IDLE), store, bar)
    assert [record.epoch for record in result.history] == [0, 1, 2, 3]
    assert store.n_saved == 4
    assert bar.steps == 18  # as if all of them had been done
    assert bar.note == "ended early, after epoch 4/9"
    assert "ended after 4 of 9 epochs: no gain for 3" in caplog.text
    full = run(make_job(recipe=IDLE | {"patience": None}))
    assert len(full.history) == 9
    assert [record.ema for record in full.history[:4]] == [record.ema for record in result.history]
    assert_same(run(make_job(recipe=IDLE, workers=2)), result)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("same_patches")
@pytest.mark.parametrize("step", [1, 4, 7, 8])
def test_patience_of_a_training_that_was_stopped(store, step):
    straight = run(make_job(recipe=IDLE))
    with pytest.raises(Interrupted):
        run(make_job(recipe=IDLE), store, stop=StopAfter(step))
    for _ in range(2):  # the second time it is over
        bar = Bar()
        assert_same(run(make_job(recipe=IDLE), store, bar), straight)
        assert bar.steps == 18
    assert store.n_saved == 5


def test_without_validation_cases_patience_has_nothing_to_compare():
    recipe = {"epochs": 3, "iterations": 1, "patience": 1}
    result = run(make_job(fold=Fold(train=("1",), val=()), recipe=recipe))
    assert len(result.history) == 3
    assert math.isnan(result.history[-1].mean)
    assert math.isnan(result.history[-1].validation_loss)
    assert result.best_weights


def test_regions_cascade_and_a_residual_encoder():
    labels = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
    architecture = make_job().configuration.architecture.model_copy(
        update={"encoder": "residual", "encoder_blocks": (1, 2, 2), "decoder_blocks": (1, 1)}
    )
    changes = {"labels": labels, "previous_stage": "3d_lowres", "architecture": architecture}
    result = run(make_job(recipe={"epochs": 2, "deep_supervision": False}, **changes))
    assert all(math.isfinite(record.train_loss) for record in result.history)
    assert result.weights["encoder.stem.conv.weight"].shape[1] == 3


def test_a_loss_that_is_not_finite_is_an_error(store):
    with pytest.raises(TrainingError, match="loss is nan in epoch 0, iteration 0"):
        run(make_job(), store, reader=NaNReader())
    assert store.n_saved == 0
