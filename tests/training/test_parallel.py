"""One training in two processes is the same training."""

import multiprocessing
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import rank_work
import torch
from tiny_problem import Bar, NaNReader, Reader, StopAfter, Store, kill_parent, make_job

from segflow.contracts.errors import DatasetError, Interrupted, TrainingError
from segflow.contracts.labels import Labels
from segflow.recipes.training import TrainingRecipe
from segflow.storage.weights import CheckpointFile
from segflow.training import parallel
from segflow.training.loop import train
from segflow.training.parallel import run_ranks

PAIR = ("cpu", "cpu")
SHORT = {"epochs": 2, "iterations": 3, "validation_iterations": 2}
IGNORE = Labels((("background", 0), ("a", 1), ("b", 2), ("ignore", 3)))
REGIONS = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))


def short(dimensions=2, **values):
    """Two processes cannot share three patches evenly."""
    return make_job(dimensions, recipe=SHORT, batch_size=3, **values)


#: With other seeds of two of them, rounding decides the slope of an activation in some version of torch.
JOBS = {
    "classes": short(3, batch_dice=False, seed=2),
    "top-k": replace(
        short(batch_dice=True, labels=IGNORE, seed=2),
        training=TrainingRecipe(**SHORT, loss="dice_topk", deep_supervision_weights=(2.0, 1.0)),
    ),
    "regions": short(3, batch_dice=True, labels=REGIONS),
    "muon": replace(
        short(3, batch_dice=False, seed=2),
        training=TrainingRecipe(**SHORT, optimizer="muon", momentum=0.9, schedule_per="step", warmup=0.2),
    ),
}


def run_pair(work, *arguments, bar=None):
    run_ranks(work, arguments, devices=PAIR, progress=bar or Bar(), stop=lambda: False)


@pytest.fixture(autouse=True)
def no_process_stays():
    yield
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What each of two processes had after each job."""
    folder = tmp_path_factory.mktemp("trained")
    run_pair(rank_work.learn_all, JOBS, str(folder))
    return {
        name: [torch.load(folder / f"{name}_{rank}", weights_only=True) for rank in (0, 1)]
        for name in (*JOBS, "overflow")
    }


def table(history):
    return [[record.train_loss, record.validation_loss, *record.pseudo_dice] for record in history]


def assert_same_weights(found, expected, atol=0.0):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_learn_what_one_does(trained, name):
    alone = train(JOBS[name], Reader(), Store(), Bar())
    first, second = trained[name]
    np.testing.assert_allclose(np.array(first["losses"]), np.array(table(alone.history)), rtol=1e-5)
    atol = 1e-4 if name == "muon" else 1e-5  # it divides small gradients, and their rounding, by their size
    assert_same_weights(first["weights"], alone.weights, atol=atol)
    np.testing.assert_array_equal(first["losses"], second["losses"])
    assert_same_weights(first["weights"], second["weights"])


def test_both_skip_a_step_whose_gradients_overflow_in_one(trained):
    first, second = trained["overflow"]
    assert first["scale"] == second["scale"] == 512.0
    start, skipped, learned = first["weight"]
    assert torch.equal(start, skipped)
    assert not torch.equal(start, learned)
    assert torch.equal(learned, second["weight"][2])


@pytest.mark.slow
def test_stopped_and_resumed_on_two_devices_or_on_one(trained, tmp_path, caplog):
    job = JOBS["classes"]
    store, bar, on_one = CheckpointFile(tmp_path / "checkpoint.pt"), Bar(), Store()
    with pytest.raises(Interrupted):
        train(replace(job, workers=2), Reader(), store, bar, stop=StopAfter(4), devices=PAIR)
    assert bar.steps == 4
    state = store.load()
    assert (len(state["history"]), len(state["losses"])) == (1, 1)
    on_one.save(state)
    one, bar = train(job, Reader(), on_one, Bar()), Bar()
    caplog.set_level("INFO", logger="segflow")
    two = train(job, Reader(), store, bar, devices=PAIR)
    assert "resumed after epoch 1, iteration 1" in caplog.text
    assert bar.steps == 6
    expected = trained["classes"][0]
    assert table(two.history) == expected["losses"]
    assert_same_weights(two.weights, expected["weights"])
    assert_same_weights(one.weights, expected["weights"], atol=1e-5)
    assert all(record.seconds > 0 for record in two.history)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("work", "arguments", "message"),
    [
        (
            rank_work.fail_in_the_second,
            [ZeroDivisionError("the reason")],
            r"(?s)process 1 .*failed:.*in fail_in.*ZeroDivisionError: the reason",
        ),
        (rank_work.leave_in_the_second, [], r"process 0 \(process id \d+\) lost contact with the others: "),
        (rank_work.die_in_the_second, [], r"process 1 .*died \(exit code -9"),
        (rank_work.die_in_the_second, [rank_work.Deadly()], r"process . .*died \(exit code -9"),
    ],
)
def test_a_process_that_fails_ends_all_and_the_cause_is_reported(work, arguments, message):
    began = time.monotonic()
    with pytest.raises(TrainingError, match=message):
        run_pair(work, *arguments)
    assert time.monotonic() - began < 30


def test_errors_with_advice_of_their_own_are_raised_as_they_are():
    assert str(parallel._reported(DatasetError("a case is bad"))) == "a case is bad"
    assert isinstance(parallel._reported(RuntimeError("CUDA error: out of memory")), torch.OutOfMemoryError)


def test_an_error_in_all_processes_is_reported_once(tmp_path):
    store = CheckpointFile(tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match=r"^the loss is nan in epoch 0, iteration 0: ") as error:
        train(short(), NaNReader(), store, Bar(), devices=PAIR)
    assert str(error.value).count("the loss is nan") == 1
    assert not list(tmp_path.iterdir())


def test_a_second_interrupt_ends_all_at_once():
    with pytest.raises(KeyboardInterrupt):
        run_pair(rank_work.report_and_sleep, bar=Bar(interrupt_at=1))


PARENT = """
import rank_work
from tiny_problem import Bar
from segflow.training.parallel import run_ranks
run_ranks(rank_work.report_and_sleep, (), devices=("cpu", "cpu"), progress=Bar(), stop=lambda: False)
"""


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_processes_of_a_killed_caller_end(tmp_path):
    kill_parent(PARENT, 2, folder=tmp_path)
