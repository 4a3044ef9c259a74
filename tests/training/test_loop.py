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
from segflow.training.step import Learner

SHORT = {"epochs": 2, "iterations": 3, "validation_iterations": 2}


def run(job, store=None, bar=None, *, reader=None, **options):
    return train(job, reader or Reader(), store or Store(), bar or Bar(), **options)


def short(**changes):
    return dataclasses.replace(make_job(recipe=SHORT), **changes)


def stop_after(step, job, store, bar=None):
    with pytest.raises(Interrupted):
        run(job, store, bar, stop=StopAfter(step))
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def straight():
    """A training that was not interrupted."""
    return run(short())


@pytest.fixture
def store():
    return Store()


def assert_same(found, expected):
    assert len(found.history) == len(expected.history)
    for one, other in zip(found.history, expected.history, strict=True):
        assert dataclasses.replace(one, seconds=0) == dataclasses.replace(other, seconds=0)
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_loss_falls_and_the_history_is_complete(store, dimensions):
    bar = Bar()
    history = run(make_job(dimensions, recipe={"epochs": 5, "iterations": 8}), store, bar).history
    assert [record.epoch for record in history] == [0, 1, 2, 3, 4]
    assert history[-1].train_loss < history[0].train_loss
    assert [r.learning_rate for r in history[:2]] == pytest.approx([0.01, 0.01 * 0.8**0.9])
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


@pytest.mark.parametrize(("step", "workers"), [(1, 0), (2, 2), (3, 0), (3, 2), (4, 2), (5, 0), (6, 2)])
def test_stopped_after_any_step_and_resumed(store, straight, step, workers):
    bar, second = Bar(), Bar()
    stop_after(step, short(workers=workers), store, bar)
    assert bar.steps == step
    state = store.load()
    done, begun = divmod(step - 1, 3)
    assert state["version"] == 3
    assert len(state["history"]) == done
    assert len(state["losses"]) == begun + 1  # within an epoch, even if all its steps are done
    assert state["seconds"] > 0
    assert store.n_saved == done + 1
    resumed = run(short(), store, second, stop=lambda: False)
    assert_same(resumed, straight)
    assert second.steps == 6
    assert all(record.seconds > 0 for record in resumed.history)


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "muon", "schedule_per": "step", "warmup": 0.5},
        {"optimizer": "adamw", "schedule": "cosine"},
        {"optimizer": "muon", "schedule": "trapezoid", "weight_decay": 0.1},
    ],
    ids=lambda recipe: " ".join(map(str, recipe.values())),
)
def test_every_optimizer_and_schedule_stopped_and_resumed(store, recipe):
    job = make_job(recipe=SHORT | recipe)
    stop_after(2, job, store)
    assert_same(run(job, store), run(job))


@pytest.fixture(scope="module")
def on_device():
    """A training whose patches are augmented on its device."""
    return run(short(augment="device"))


def test_augmented_on_the_device_but_for_rounding_nothing_changes(straight, on_device):
    for one, other in zip(on_device.history, straight.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)
        assert one.pseudo_dice == pytest.approx(other.pseudo_dice, abs=1e-3)


@pytest.mark.parametrize(("step", "workers"), [(2, 0), (4, 2)])
def test_augmented_on_the_device_stopped_and_resumed_with_workers_or_without(store, on_device, step, workers):
    job = short(augment="device", workers=workers)
    stop_after(step, job, store)
    assert_same(run(job, store), on_device)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_augmented_on_the_device_regions_of_a_cascade(dimensions):
    labels = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
    changes = {"labels": labels, "previous_stage": "3d_lowres", "mask_normalization": (True,)}
    one, other = (
        run(dataclasses.replace(make_job(dimensions, recipe=SHORT, **changes), augment=augment))
        for augment in ("workers", "device")
    )
    for record, expected in zip(other.history, one.history, strict=True):
        assert record.train_loss == pytest.approx(expected.train_loss, abs=1e-5)


def test_losses_that_are_read_a_step_later_as_on_a_gpu(store, straight, monkeypatch):
    monkeypatch.setitem(loop._STEPS_AHEAD, "cpu", 1)
    assert_same(run(short()), straight)
    stop_after(2, short(), store)
    assert len(store.load()["losses"]) == 3  # the step after it had begun
    assert_same(run(short(), store), straight)


def test_stopped_after_every_step(store, straight):
    """A job of a minute at a time still gets there."""
    for _ in range(6):
        stop_after(1, short(), store)
    never = StopAfter(99)
    assert_same(run(short(), store, stop=never), straight)
    assert never.asked == 0
    assert store.load()["losses"] == []


def test_the_time_before_a_stop_counts(store):
    stop_after(2, short(), store)
    store.save(store.load() | {"seconds": 1000.0})
    first, second = (record.seconds for record in run(short(), store).history)
    assert 1000 < first < 1100
    assert second < 100


def test_killed_between_two_steps_after_a_stop(store, straight):
    """The state of the stop is still there, because nothing has replaced it."""
    stop_after(2, short(), store)
    with pytest.raises(KeyboardInterrupt):
        run(short(), store, Bar(interrupt_at=3))
    assert_same(run(short(workers=1), store), straight)


def test_killed_after_it_was_saved_within_an_epoch(store, straight):
    with pytest.raises(KeyboardInterrupt):
        run(short(checkpoint_s=0), store, Bar(interrupt_at=3))
    assert len(store.load()["losses"]) == 2
    assert store.load()["seconds"] > 0
    bar = Bar()
    assert_same(run(short(), store, bar), straight)
    assert bar.steps == 6


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
    saved = []
    monkeypatch.setattr(
        store, "save", lambda state: saved.append((len(state["history"]), len(state["losses"])))
    )
    monkeypatch.setattr(loop, "time", Ticking())
    loop.train_in_group(Group(), Bar(), lambda: False, short(checkpoint_s=seconds), Reader(), store)
    assert saved == expected


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
    for step in (1, 8):
        store = Store()
        stop_after(step, make_job(recipe=IDLE), store)
        for _ in range(2):  # the second time it is over
            bar = Bar()
            assert_same(run(make_job(recipe=IDLE, workers=step // 4), store, bar), result)
            assert bar.steps == 18
        assert store.n_saved == 5


def test_without_validation_cases_patience_has_nothing_to_compare():
    recipe = {"epochs": 3, "iterations": 1, "patience": 1}
    result = run(make_job(fold=Fold(train=("1",), val=()), recipe=recipe))
    assert len(result.history) == 3
    assert math.isnan(result.history[-1].mean)
    assert math.isnan(result.history[-1].validation_loss)


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


def overflowing(monkeypatch, steps):
    """Learners whose gradients overflow in steps of these numbers, with a scaler as on a GPU."""
    done = iter(range(1000))

    class Overflowing(Learner):
        def __init__(self, job, group):
            super().__init__(job, group)
            self.scaler = torch.amp.GradScaler("cpu")
            weight = next(self.network.parameters())
            weight.register_hook(lambda g: g * float("inf") if next(done) in steps else g)

    monkeypatch.setattr(loop, "Learner", Overflowing)


def test_steps_that_overflow_are_counted(monkeypatch, store):
    overflowing(monkeypatch, {0, 1, 4})
    result = run(make_job(recipe=SHORT), store)
    assert [record.skipped for record in result.history] == [2, 1]
    assert all(torch.isfinite(tensor).all() for tensor in result.weights.values())


def test_too_many_steps_in_a_row_that_overflow(monkeypatch, store):
    overflowing(monkeypatch, set(range(1000)))
    with pytest.raises(
        TrainingError, match=r"gradients are not finite in epoch 6, iteration 2, as in the 20 before"
    ):
        run(make_job(recipe=SHORT | {"epochs": 9}), store)
